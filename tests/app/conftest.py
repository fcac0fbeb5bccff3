"""Serves the page on a free port, over the untrained model and a finder that always finds a face."""

from __future__ import annotations

import contextlib
import threading
import time
from types import SimpleNamespace

import pytest


@contextlib.contextmanager
def run_page(talker, limits, credentials=None):
    """Serve the page over `talker` until the end of the block; yields url, port, sessions and models."""
    import uvicorn

    from app.models import Models
    from app.server import application

    models = Models(talker, "lite", "cpu")
    with application(models, limits, credentials) as guard:
        config = uvicorn.Config(guard, port=0, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}", port=port, sessions=guard.sessions, models=models)
        server.should_exit = True
        thread.join(3)  # after hundreds of other tests its loop may not end; the thread is a daemon


@pytest.fixture(scope="session")
def serve():
    return run_page


@pytest.fixture(scope="session")
def found_talker(untrained_model, fixed_finder):
    """The untrained model; every picture shows two faces if it is twice as wide as high, else one."""
    from anitalker import pipeline

    class Finder:
        calibrated = False

        def find(self, picture):
            return fixed_finder(2 if picture.shape[1] >= 2 * picture.shape[0] else 1).find(picture)

    talker = pipeline.load(untrained_model, "cpu")
    talker._finders["own"] = Finder()
    return talker


@pytest.fixture(scope="session")
def page(found_talker):
    """A page with small limits that the tests share."""
    from app.limits import MB, Limits

    with run_page(found_talker, Limits(upload_bytes=2 * MB, media_seconds=20, waiting_jobs=3)) as served:
        yield served


@pytest.fixture(scope="session")
def pair(root):
    """A picture with two faces."""
    return root / "app/examples/pair.webp"
