"""Gradio's page as an application behind the guard, served by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.jobs import Line
from app.limits import Limits
from app.models import Models
from app.visits import Visits

if TYPE_CHECKING:
    from app.guard import Guard

SWEEP_EVERY = 60.0  # seconds


@contextlib.contextmanager
def application(models: Models, limits: Limits, auth: tuple[str, str] | None = None) -> Iterator[Guard]:
    """The guarded ASGI application; its files and jobs end with the context."""
    visits, line, over = Visits(limits), Line(limits.waiting), threading.Event()
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(visits.root)  # read by Gradio when components are made and files come
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

    def sweep() -> None:
        while not over.wait(SWEEP_EVERY):
            visits.sweep()

    try:
        app = _app(models, visits, line, limits, auth)
        threading.Thread(target=sweep, name="sweep", daemon=True).start()
        yield app
    finally:
        over.set()
        line.cancel_all()
        visits.close()
        if before is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


def _app(models: Models, visits: Visits, line: Line, limits: Limits, auth: tuple[str, str] | None) -> Guard:
    import gradio as gr
    from fastapi import FastAPI

    from app.actions import Actions
    from app.guard import Guard
    from app.ui import HERE, THEME, build_ui

    page = build_ui(Actions(models, visits, line))
    visits.public = frozenset(file.resolve() for file in visits.root.rglob("*") if file.is_file())  # the examples
    mounted = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="/",
        auth=auth,
        max_file_size=limits.upload,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        theme=THEME,
        css_paths=[HERE / "style.css"],
    )
    return Guard(mounted, visits, limits)


class _AtTheEnd(logging.Filter):
    """Leaves away what uvicorn says, at length, of pages that are still open when the server is told to end."""

    def filter(self, record: logging.LogRecord) -> bool:
        cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
        return not cancelled and "timeout graceful shutdown exceeded" not in record.getMessage()


def serve(app: Guard, host: str, port: int) -> None:
    """Until Ctrl-C or SIGTERM."""
    import uvicorn

    logging.getLogger("uvicorn.error").addFilter(_AtTheEnd())
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2, server_header=False)
