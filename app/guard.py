"""ASGI middleware between the network and Gradio: who the visitor is, whose a file is, and how much may come in.

Gradio serves every file of its cache to whoever knows the path, reads uploads before it refuses them, and fetches
addresses that it is given. Here a signed cookie identifies the visitor, uploads move into the visitor's own folder, and
a request that names another visitor's file, an address, or too many bytes does not reach Gradio.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from anitalker.server.limits import MB, Limits

from .example_files import ROUTE, local_example, with_local_examples
from .login import LoginThrottle, TooManyTries
from .sessions import SessionStore

COOKIE = "anitalker-visitor"
SESSION_HEADER = "x-anitalker-session"  # set here for the page's functions; what a client sends is overwritten
API = "/gradio_api/"
# Routes of Gradio, below API, that the page uses: everything else there is refused.
JSON_ROUTES = ("queue/join", "cancel", "run/", "api/", "call/")  # POST
OTHER_ROUTES = (
    "info",
    "app_id",
    "login_check",
    "user",
    "token",
    "startup-events",
    "theme.css",
    "upload_progress",
    "reset",
    "call/",
)
LIVE = "live/"  # below API: videos in the making, read from their beginning to their end
OWN_SITE = ("same-origin", "none")  # values of Sec-Fetch-Site: no other site may log a visitor out
MAX_TABS = 10_000  # Gradio sessions (browser tabs) whose owner is remembered
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'self'; object-src 'none'",
}


class LiveApplication(Protocol):
    """Routes of live faces below `prefix`, which look after their visitors' portraits and sessions themselves."""

    prefix: str

    async def answer(self, page: ASGIApp, request: Request, send: Send, visitor: str) -> None:
        """Answer a request of a visitor, or refuse it: HTTPException. page: knows who is logged in."""

    def close(self) -> None:
        """The server has ended."""


class Guard:
    """ASGI middleware over Gradio's application. A refusal is JSON: {"detail": one line for the visitor}."""

    def __init__(
        self, app: ASGIApp, sessions: SessionStore, limits: Limits, live: LiveApplication | None = None
    ) -> None:
        self.app, self.sessions, self.limits, self.live = app, sessions, limits, live
        self.logins = LoginThrottle()
        self._tab_owners: OrderedDict[str, str] = OrderedDict()  # Gradio's session_hash -> session id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Identify the visitor of a request, then pass it on or refuse it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await WebSocketClose(1008)(scope, receive, send)
        token = Request(scope).cookies.get(COOKIE, "")
        known = self.sessions.is_valid(token)
        if not known:
            token = self.sessions.new_token()
        session_id = self.sessions.session_id(token)
        scope = dict(scope)
        MutableHeaders(scope=scope)[SESSION_HEADER] = session_id
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = None if known else f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax{secure}"
        send = add_security_headers(send, cookie)
        try:
            await self._dispatch(Request(scope, receive), send, session_id)
        except HTTPException as refusal:
            await JSONResponse({"detail": refusal.detail}, refusal.status_code)(scope, receive, send)

    async def _dispatch(self, request: Request, send: Send, session_id: str) -> None:
        scope, receive = request.scope, request.receive
        path, method = scope["path"], request.method
        limited_receive = LimitedReceive(receive, self.limits.request_bytes)
        if path.rstrip("/") == "/login" and method == "POST":
            return await self._login(request, limited_receive, send)
        if path.rstrip("/") == "/logout":
            return await self._logout(request, send, session_id)
        if self.live and path.startswith(self.live.prefix):
            return await self.live.answer(self.app, request, send, session_id)
        if path.startswith(ROUTE):
            file = local_example(path, self.sessions.public)
            if file is None or method not in ("GET", "HEAD"):
                raise HTTPException(404, "there is no example of this name")
            path = f"{API}file={file}"
            return await self.app({**scope, "path": path, "raw_path": quote(path).encode()}, receive, send)
        if not path.startswith(API):
            if method not in ("GET", "HEAD"):
                raise HTTPException(405, "this page is read with GET")
            return await self.app(scope, limited_receive, send)
        route = path.removeprefix(API)
        if route.startswith("file="):
            file = self.sessions.resolve_readable(session_id, route.removeprefix("file="))
            if file is None:
                raise HTTPException(403, "this file is not yours, or no longer here")
            path = f"{API}file={file}"
            return await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, send)
        if route.startswith(LIVE) and method == "GET":
            return await self._stream(request, send, session_id, route.removeprefix(LIVE))
        if route == "upload" and method == "POST":
            return await self._upload(request, send, session_id)
        if route.startswith(JSON_ROUTES) and method == "POST":
            body = self._check_call(session_id, await self._read_body(request))
            return await self.app(scope, replay(body, receive), send)
        if route == "queue/data":
            self._claim_tab(session_id, request.query_params.get("session_hash", ""))
        elif route.startswith("heartbeat/"):
            self._claim_tab(session_id, route.removeprefix("heartbeat/"))
        elif not route.startswith(OTHER_ROUTES):
            raise HTTPException(404, "there is nothing here")
        return await self.app(scope, limited_receive, send)

    async def _login(self, request: Request, receive: Receive, send: Send) -> None:
        """Let Gradio check a password; wrong ones slow the next tries from the same address."""
        response = CapturedResponse()
        try:
            async with self.logins.admit(request.client.host if request.client else "") as attempt:
                await self.app(request.scope, receive, response)
                attempt.record(response.status == 200)
        except TooManyTries:
            raise HTTPException(429, "too many tries at once; wait a minute") from None
        await response.replay(send)

    async def _logout(self, request: Request, send: Send, session_id: str) -> None:
        """Let Gradio forget who is logged in, delete the visitor's files and make the browser a new visitor."""
        if request.method != "GET" or request.headers.get("sec-fetch-site", "same-origin") not in OWN_SITE:
            raise HTTPException(405, "log out with the link on the page")
        self.sessions.delete(session_id)
        secure = "; Secure" if request.url.scheme == "https" else ""
        cookie = f"{COOKIE}={self.sessions.new_token()}; Path=/; HttpOnly; SameSite=Lax{secure}"
        query = b"all_session=false"  # this browser alone; others of the same name stay
        await self.app({**request.scope, "query_string": query}, request.receive, add_security_headers(send, cookie))

    def _check_call(self, session_id: str, body: bytes) -> bytes:
        """Refuse a call that names a file or a tab of another visitor, or an address.

        Returns the call, in which this server's addresses of its examples have become their files.
        """
        try:
            call = with_local_examples(json.loads(body or b"{}"), self.sessions.public)
        except (ValueError, RecursionError):
            raise HTTPException(400, "this call is not valid JSON") from None
        if isinstance(call, dict) and isinstance(call.get("session_hash"), str):
            self._claim_tab(session_id, call["session_hash"])
        for path in file_paths(call):
            if not isinstance(path, str) or self.sessions.resolve_readable(session_id, path) is None:
                raise HTTPException(
                    403, "give a file that you uploaded in this visit; addresses and other files are refused"
                )
        return json.dumps(call).encode()

    def _claim_tab(self, session_id: str, session_hash: str) -> None:
        """Give the tab to the first visitor who uses it; refuse the others."""
        if self._tab_owners.setdefault(session_hash, session_id) != session_id:
            raise HTTPException(403, "this session is another visitor's")
        while len(self._tab_owners) > MAX_TABS:
            self._tab_owners.popitem(last=False)

    async def _read_body(self, request: Request) -> bytes:
        """Read a small body whole; refuse a larger one, unread if its header says so."""
        limit = self.limits.request_bytes
        receive = LimitedReceive(request.receive, limit)
        try:
            if _announced_bytes(request.headers) <= limit:
                return await Request(request.scope, receive).body()
        except ClientDisconnect:
            if not receive.exceeded:
                raise HTTPException(400, "the call broke off") from None
        raise HTTPException(413, f"this call is too large; allowed are {limit:,} bytes; send files as uploads")

    async def _stream(self, request: Request, send: Send, session_id: str, token: str) -> None:
        """Send a video while it is made."""
        video = self.sessions.get(session_id).live_video(token)
        if video is None or not video.path.exists():
            raise HTTPException(404, "this video is not yours, or already made")
        headers = {"cache-control": "no-store"}
        answer = StreamingResponse(video.read(), media_type="video/mp4", headers=headers)
        await answer(request.scope, request.receive, send)

    async def _upload(self, request: Request, send: Send, session_id: str) -> None:
        """Let Gradio store an upload within the limit, then move its files into the visitor's folder."""
        limit = self.limits.upload_bytes + self.limits.request_bytes
        too_large = HTTPException(413, f"the upload is too large; allowed are {self.limits.upload_bytes / MB:g} MB")
        if _announced_bytes(request.headers) > limit:
            raise too_large
        self.sessions.sweep()
        receive, response = LimitedReceive(request.receive, limit), CapturedResponse()
        try:
            await self.app(request.scope, receive, response)
        except Exception:  # Gradio's answer to a body that was cut off
            if not receive.exceeded:
                raise
        if receive.exceeded or response.status == 413:
            raise too_large
        body: bytes | str = response.body
        if response.status == 200:
            try:
                body = json.dumps([str(self.sessions.claim_upload(session_id, path)) for path in json.loads(body)])
            except FileNotFoundError:  # the same file came twice at the same moment
                raise HTTPException(409, "the upload was disturbed; try again") from None
        answer = Response(body, response.status, media_type=response.content_type)
        await answer(request.scope, request.receive, send)


class LimitedReceive:
    """An ASGI receive that ends the request after `limit` bytes of body, as if the client had disconnected."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.exceeded = False
        self._receive, self._bytes_left = receive, limit

    async def __call__(self) -> Message:
        """Receive a message; the request ends when more bytes came than are allowed."""
        message = await self._receive()
        self._bytes_left -= len(message.get("body", b""))
        self.exceeded = self._bytes_left < 0
        return {"type": "http.disconnect"} if self.exceeded else message


class CapturedResponse:
    """An ASGI send that keeps a whole response in memory."""

    def __init__(self) -> None:
        self.status, self.body, self.content_type = 500, b"", "application/json"
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        """Keep a message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.content_type = Headers(raw=message.get("headers", [])).get("content-type", "text/plain")
            self.headers = list(message.get("headers", []))
        self.body += message.get("body", b"")

    async def replay(self, send: Send) -> None:
        """Send the response on."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def add_security_headers(send: Send, cookie: str | None) -> Send:
    """Return an ASGI send that puts SECURITY_HEADERS and, for a new visitor, the cookie on every response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {"headers": [], **message}
            headers = MutableHeaders(scope=message)
            headers.update(SECURITY_HEADERS)
            if cookie:
                headers.append("set-cookie", cookie)
        await send(message)

    return send_with_headers


def replay(body: bytes, receive: Receive) -> Receive:
    """Return an ASGI receive that gives a body that was already read, then what follows it (the disconnect)."""
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return unread.pop() if unread else await receive()

    return receive_again


def file_paths(value: object) -> Iterator[object]:
    """Yield every `path` in a call, and None for every `url` that is not the address of a file on this server."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "path" and item is not None:
                yield item
            elif key == "url" and item is not None and f"{API}file=" not in str(item):
                yield None
            else:
                yield from file_paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from file_paths(item)


def _announced_bytes(headers: Headers) -> float:
    """The length in the header; 0 without one, infinite where it is not a number."""
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else float("inf")
