"""Load a model and serve it until Ctrl-C or SIGTERM."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from anitalker.server.settings import ServerSettings
from anitalker.server.voices import Voices

if TYPE_CHECKING:
    from fastapi import FastAPI

SHUTDOWN_SECONDS = 3  # that open requests have to end
MAX_CONNECTIONS = 512  # at once; more are answered with 503
log = logging.getLogger(__name__)


def run(settings: ServerSettings, model: dict, voices: Voices) -> None:
    """Load the model (arguments of `pipeline.load`) and serve it.

    InputError for a port in use, before anything is loaded, and for a model that is not there.
    """
    settings.check_usable()

    from anitalker.pipeline import load

    from .application import build_application

    talker = load(**model)
    talker.finder()  # load the face network now, not while the first client waits
    scheme = "https" if settings.certificate else "http"
    print(f"AniTalker: {scheme}://{settings.host}:{settings.port}  (press Ctrl-C to stop)", flush=True)
    serve(build_application(talker, settings, voices), settings)


def serve(app: FastAPI, settings: ServerSettings) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    import uvicorn

    from .http_protocol import TimedHeaders

    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=TimedHeaders,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        log_level="warning",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ws_max_size=settings.limits.request_bytes,
        server_header=False,
    )
