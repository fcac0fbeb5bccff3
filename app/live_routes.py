"""The live routes of `anitalker serve` below /live/, for visitors of the page: each has portraits and sessions apart.

The guard says who the visitor is, and the page who is logged in. A visitor's portraits and sessions leave with the
visitor's files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from anitalker.server.application import build_routes
from anitalker.server.avatars import Avatar, UnknownAvatar
from anitalker.server.guard import SteadyReceive, check_announced
from anitalker.server.settings import ServerSettings
from anitalker.server.voices import Voices

from .guard import API, OWN_SITE, CapturedResponse
from .sessions import SessionStore

if TYPE_CHECKING:
    from pathlib import Path

    from anitalker.pipeline import Talker

SEEN_SECONDS = 30.0  # between two notes that visitors with open sessions are there
OFFERED = re.compile(  # what visitors may ask for; an id belongs to who was given it
    r"/(?:|live\.(?:js|css)|examples/\w+\.webp|v1/(?:voices|avatars|sessions|sessions/ice-servers"
    r"|(?P<kind>avatars|sessions)/(?P<id>[0-9a-f]{32})(?:/(?:say|interrupt))?))"
)


class LiveRoutes:
    """The routes over one model, kept in memory. Every method but `add_avatar` and `forget` runs in the event loop."""

    prefix = "/live/"

    def __init__(
        self, talker: Talker, settings: ServerSettings, visitors: SessionStore, voices: Voices | None = None
    ) -> None:
        self.app = build_routes(talker, settings, voices)
        self.visitors, self.limits = visitors, settings.limits
        self._ids: defaultdict[str, set[str]] = defaultdict(set)  # of each visitor's avatars and sessions
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        visitors.on_delete.append(self.forget)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Look after sessions while the page is served."""
        self._loop = asyncio.get_running_loop()
        async with self.app.router.lifespan_context(self.app):
            noting = asyncio.create_task(self._note_visitors())
            try:
                yield
            finally:
                noting.cancel()

    async def answer(self, page: ASGIApp, request: Request, send: Send, visitor: str) -> None:
        """Answer a request below `prefix`, or refuse it: HTTPException. page: knows who is logged in."""
        path, method = request.scope["path"].removeprefix(self.prefix.rstrip("/")), request.method
        offered = OFFERED.fullmatch(path)
        if offered is None or (path == "/v1/sessions" and method != "POST"):
            raise HTTPException(404, "there is nothing here")
        if request.headers.get("sec-fetch-site", "same-origin") not in OWN_SITE:
            raise HTTPException(403, "another web site may not use this server")
        if not await is_logged_in(page, request):
            raise HTTPException(401, "log in first")
        if offered["id"] and offered["id"] not in self._ids.get(visitor, ()):
            raise HTTPException(404, f"there is nothing of the id {offered['id']!r}")
        is_upload = path == "/v1/avatars" or path.endswith("/say")
        limit = self.limits.request_bytes + (self.limits.upload_bytes if is_upload else 0)
        check_announced(request.headers, limit)
        scope = {**request.scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        receive = SteadyReceive(request.receive, limit)
        if method == "POST" and path in ("/v1/avatars", "/v1/sessions"):
            return await self._create(scope, receive, send, visitor)
        await self.app(scope, receive, send)

    async def _create(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        """Pass on what makes something, and note whose it is."""
        response = CapturedResponse()
        await self.app(scope, receive, response)
        if response.status == 201:
            self._give(visitor, json.loads(response.body)["id"])
        await response.replay(send)

    def add_avatar(self, visitor: str, file: Path, face: str) -> Avatar:
        """Prepare a portrait from a visitor's file. InputError for one that cannot be animated. On any thread."""
        avatar = self.app.state.avatars.add_file(file, face)
        self._give(visitor, avatar.id)
        return avatar

    def forget(self, visitor: str) -> None:
        """Forget a visitor's portraits, and end the visitor's sessions. On any thread."""
        with self._lock:
            ids = self._ids.pop(visitor, set())
        for name in ids:
            with contextlib.suppress(UnknownAvatar):
                self.app.state.avatars.delete(name)
        if ids and self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._close_sessions(ids), self._loop)

    def close(self) -> None:
        """Delete the folder; the server has ended."""
        shutil.rmtree(self.app.state.folder, ignore_errors=True)

    def _give(self, visitor: str, name: str) -> None:
        self.visitors.get(visitor)  # begins the visit, so that it will end
        with self._lock:
            self._ids[visitor].add(name)

    async def _close_sessions(self, ids: set[str]) -> None:
        sessions = [session for session in self.app.state.sessions.all() if session.id in ids]
        await asyncio.gather(*(session.close() for session in sessions), return_exceptions=True)

    async def _note_visitors(self) -> None:
        """Talking to a face is no absence from the page."""
        while True:
            await asyncio.sleep(SEEN_SECONDS)
            is_open = {session.id for session in self.app.state.sessions.all()}
            with self._lock:
                present = [visitor for visitor, ids in self._ids.items() if ids & is_open]
            for visitor in present:
                self.visitors.get(visitor)


async def is_logged_in(page: ASGIApp, request: Request) -> bool:
    """Whether the page would serve this request's visitor: anybody without --auth."""
    path = f"{API}login_check"
    scope = {**request.scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    response = CapturedResponse()
    await page(scope, _no_body, response)
    return response.status == 200


async def _no_body() -> dict:
    return {"type": "http.request", "body": b"", "more_body": False}
