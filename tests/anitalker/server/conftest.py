"""A server over the untrained model and a finder that always finds a face, without a network."""

from __future__ import annotations

import pytest

pytest.importorskip("aiortc", reason='the server needs the extra: pip install "anitalker[serve]"')


@pytest.fixture(scope="session")
def server_talker(untrained_model, fixed_finder):
    from anitalker import pipeline

    talker = pipeline.load(untrained_model, "cpu")
    talker._finders["own"] = fixed_finder()
    return talker


@pytest.fixture
def settings():
    from anitalker.server.limits import Limits
    from anitalker.server.settings import ServerSettings

    # Threads draw: processes take seconds to start, and have tests of their own.
    return ServerSettings(
        max_sessions=2, drawing_processes=0, limits=Limits(upload_bytes=2_000_000, media_seconds=20, waiting_jobs=1)
    )


@pytest.fixture
def client(server_talker, settings):
    """Sends requests to the application of `settings`."""
    from fastapi.testclient import TestClient

    from anitalker.server.application import build_application

    app = build_application(server_talker, settings)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def avatar(client, example_portrait):
    """The id of a prepared portrait."""
    with example_portrait.open("rb") as file:
        answer = client.post("/v1/avatars", files={"portrait": ("face.webp", file)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]
