"""The server as an ASGI application: routes, errors in one line, files that leave with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anitalker import __version__
from anitalker.config import InputError
from anitalker.files import EXAMPLES
from anitalker.server import live_rest, rest
from anitalker.server.avatars import AvatarStore, UnknownAvatar
from anitalker.server.guard import Guard
from anitalker.server.live_sessions import LiveSessions, TooManySessions, UnknownSession
from anitalker.server.metrics import Metrics
from anitalker.server.settings import ServerSettings
from anitalker.server.videos import QueueFull, UnknownVideo, VideoStore
from anitalker.server.voices import Voices

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

LIVE_PAGE = Path(__file__).parent / "live_page"
EXAMPLE_PORTRAITS = ("woman", "man", "elder", "portrait")
SWEEP_SECONDS = 30.0  # between two deletions of what was kept long enough
DESCRIPTION = "One portrait speaks: videos by REST, and live by WebRTC. Errors are JSON: `detail` is one line."
log = logging.getLogger(__name__)


def build_application(talker: Talker, settings: ServerSettings, voices: Voices | None = None) -> FastAPI:
    """The application over a loaded model, behind `Guard`. Its lifespan makes a temporary folder and deletes it."""
    app = build_routes(talker, settings, voices)
    app.add_api_route("/healthz", healthz, methods=["GET"], summary="Whether the server runs")
    app.add_api_route("/metrics", metrics, methods=["GET"], summary="Figures for Prometheus", response_class=Response)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(settings.origins),
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["authorization", "content-type"],
        expose_headers=["location"],
    )
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(CountAnswers, metrics=app.state.metrics)
    return app


def build_routes(talker: Talker, settings: ServerSettings, voices: Voices | None = None) -> FastAPI:
    """REST, live sessions and the live page without a guard: the web page has its own."""
    app = FastAPI(
        title="AniTalker",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.folder = folder = Path(tempfile.mkdtemp(prefix="anitalker-serve-")).resolve()
    app.state.settings, app.state.metrics = settings, Metrics()
    app.state.avatars = AvatarStore(talker, folder / "avatars", settings.limits)
    app.state.videos = VideoStore(talker, folder / "videos", settings.limits, voices or Voices())
    app.state.sessions = LiveSessions(talker, settings, app.state.metrics)
    app.include_router(rest.router)
    app.include_router(live_rest.router)
    files = {f"/{file.name}": file for file in LIVE_PAGE.iterdir()}
    files["/"] = files.pop("/index.html")
    files |= {f"/examples/{name}.webp": EXAMPLES / f"{name}.webp" for name in EXAMPLE_PORTRAITS}
    for path, file in files.items():
        app.add_api_route(path, _reader(file), methods=["GET"], include_in_schema=False)
    _add_error_handlers(app)
    return app


async def healthz() -> dict[str, str]:
    """Answers as long as the server runs; needs no token."""
    return {"status": "ok", "version": __version__}


def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text format."""
    state = request.app.state
    state.metrics.videos.set(state.videos.queue.count)
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")


def _reader(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def read() -> FileResponse:
        return FileResponse(file, headers={"cache-control": "no-cache"})

    return read


class CountAnswers:
    """ASGI middleware that counts answers by their status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(status=str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, count if scope["type"] == "http" else send)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Delete what is old while the server runs, and everything when it ends."""
    sweeping = asyncio.create_task(_sweep_regularly(app))
    app.state.sessions.start_looking()
    try:
        yield
    finally:
        sweeping.cancel()
        await app.state.sessions.close_all()
        app.state.videos.close()
        shutil.rmtree(app.state.folder, ignore_errors=True)


async def _sweep_regularly(app: FastAPI) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await asyncio.to_thread(app.state.avatars.sweep)
        await asyncio.to_thread(app.state.videos.sweep)


def _add_error_handlers(app: FastAPI) -> None:
    async def refuse_input(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": " ".join(str(error).split())}, 400)

    async def refuse_busy(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 429)

    async def refuse_unknown(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": f"there is nothing of the id {str(error.args[0])[:64]!r}"}, 404)

    async def refuse_form(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"] if step not in ("body", "query", "path"))
        return JSONResponse({"detail": f"{place or 'the request'}: {first['msg']}"[:300]}, 422)

    async def tell(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    app.add_exception_handler(InputError, refuse_input)
    for busy in (QueueFull, TooManySessions):
        app.add_exception_handler(busy, refuse_busy)
    for unknown in (UnknownAvatar, UnknownVideo, UnknownSession):
        app.add_exception_handler(unknown, refuse_unknown)
    app.add_exception_handler(RequestValidationError, refuse_form)
    app.add_exception_handler(HTTPException, tell)
