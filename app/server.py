"""Gradio's page as an ASGI application behind the guard, served by uvicorn."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.server.address import check_port
from anitalker.server.job_queue import JobQueue
from anitalker.server.limits import Limits
from anitalker.server.listen import listen
from anitalker.server.settings import ServerSettings, missing_package
from anitalker.server.voices import Voices

from .models import Models
from .options import credentials_from, limits_from, live_from
from .prefix import Prefix, check_root_path
from .sessions import SessionStore

if TYPE_CHECKING:
    from .guard import Guard

SWEEP_SECONDS = 60.0  # between two deletions of expired sessions
SHUTDOWN_SECONDS = 2  # that open requests have to end


def run(arguments: argparse.Namespace) -> None:
    """Load one model and serve the page until Ctrl-C or SIGTERM.

    Raises InputError for wrong options or a port in use, before anything is loaded, and for a model that is not there.
    KeyboardInterrupt passes while the model loads; the running server ends quietly.
    """
    limits, credentials, live = limits_from(arguments), credentials_from(arguments.auth), live_from(arguments)
    voices = Voices(arguments.voices and Path(arguments.voices))
    root_path = check_root_path(arguments.root_path)
    check_port(arguments.host, arguments.port)

    from anitalker.pipeline import load

    talker = load(arguments.model, arguments.device)
    talker.finder()  # load the face network now, not while the first visitor waits
    models = Models(talker, arguments.model, arguments.device)
    with application(models, limits, credentials, voices, live) as app:
        logging.getLogger("uvicorn.error").addFilter(_ShutdownFilter())
        listen(Prefix(app, root_path), arguments.host, arguments.port, timeout_graceful_shutdown=SHUTDOWN_SECONDS)


@contextlib.contextmanager
def application(
    models: Models,
    limits: Limits,
    credentials: tuple[str, str] | None = None,
    voices: Voices | None = None,
    live: ServerSettings | None = None,
) -> Iterator[Guard]:
    """Yield the guarded ASGI application; leaving the context cancels its jobs and deletes its files.

    live: sessions and ICE servers of the tab Live.
    """
    sessions, jobs, closing = SessionStore(limits), JobQueue(limits.waiting_jobs), threading.Event()
    previous = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.root)  # Gradio reads it when components are built and files arrive
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

    def sweep_regularly() -> None:
        while not closing.wait(SWEEP_SECONDS):
            sessions.sweep()

    app = None
    try:
        app = _build_application(models, sessions, jobs, limits, credentials, voices, live)
        threading.Thread(target=sweep_regularly, name="sweep", daemon=True).start()
        yield app
    finally:
        closing.set()
        jobs.cancel_all()
        sessions.close()
        if app is not None and app.live is not None:
            app.live.close()
        if previous is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = previous


def _build_application(
    models: Models,
    sessions: SessionStore,
    jobs: JobQueue,
    limits: Limits,
    credentials: tuple[str, str] | None,
    voices: Voices | None,
    live: ServerSettings | None,
) -> Guard:
    import gradio as gr
    from fastapi import FastAPI

    from .actions import Actions
    from .document import Document
    from .example_files import publish
    from .guard import Guard
    from .live_tab import LiveFaces
    from .masthead import LOGO
    from .theme import build_theme
    from .ui import build_ui

    folder = publish(sessions.root)
    sessions.public = frozenset(file.resolve() for file in folder.iterdir())
    routes, faces = None, None
    if missing_package() is None:
        from .live_routes import LiveRoutes

        routes = LiveRoutes(models.get(), replace(live or ServerSettings(), limits=limits), sessions, voices)
        faces = LiveFaces(models, sessions, routes)
    page = build_ui(Actions(models, sessions, jobs, voices), can_log_out=credentials is not None, live=faces)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=routes.lifespan if routes else None),
        page,
        path="/",
        auth=credentials,
        max_file_size=limits.upload_bytes,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        theme=build_theme(),
        css_paths=[Path(__file__).parent / name for name in ("style.css", "avatar/style.css")],
        favicon_path=str(LOGO),
    )
    return Guard(Document(app), sessions, limits, routes)


class _ShutdownFilter(logging.Filter):
    """Drops uvicorn's long complaints about pages that are still open at shutdown."""

    def filter(self, record: logging.LogRecord) -> bool:
        cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
        return not cancelled and "timeout graceful shutdown exceeded" not in record.getMessage()
