"""Before the routes: tokens, foreign sites, large and slow bodies."""

import asyncio
import base64
from dataclasses import replace

import pytest
from starlette.exceptions import HTTPException

from anitalker.server import guard
from anitalker.server.settings import ServerSettings
from tests.conftest import run_async

TOKEN = "0123456789abcdef-token"


@pytest.fixture
def settings(settings):
    return replace(settings, token=TOKEN, origins=("https://friend.example",))


def test_a_token_is_asked_for(client):
    answer = client.get("/v1/voices")
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/metrics").status_code == 401
    assert client.get("/v1/voices", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/v1/voices", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_health_and_description_need_none(client):
    assert client.get("/healthz").status_code == client.get("/openapi.json").status_code == 200


def test_a_token_as_subprotocol(client):
    encoded = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    protocols = f"{guard.SPEECH_PROTOCOL}, {guard.TOKEN_PROTOCOL}{encoded}"
    assert client.get("/v1/voices", headers={"sec-websocket-protocol": protocols}).status_code == 200
    assert client.get("/v1/voices", headers={"sec-websocket-protocol": f"{protocols}%"}).status_code == 401


def test_foreign_sites_are_refused_and_friends_are_not(client):
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/v1/voices", headers={**bearer, "origin": "https://foe.example"}).status_code == 403
    friend = client.get("/v1/voices", headers={**bearer, "origin": "https://friend.example"})
    assert friend.status_code == 200 and friend.headers["access-control-allow-origin"] == "https://friend.example"
    assert client.get("/v1/voices", headers={**bearer, "origin": "http://localhost"}).status_code == 200


def test_a_friend_may_ask_first(client):
    headers = {"origin": "https://friend.example", "access-control-request-method": "POST"}
    assert client.options("/v1/sessions", headers=headers).status_code == 200


def test_a_body_that_is_announced_too_large_is_not_read(client):
    headers = {"authorization": f"Bearer {TOKEN}", "content-length": str(100_000_000)}
    answer = client.post("/v1/avatars", headers=headers, content=b"x")
    assert answer.status_code == 413 and answer.json()["detail"].endswith("MB")


def test_a_body_that_grows_too_large_is_cut_off(client):
    def endless():
        for _ in range(40):
            yield b"x" * 100_000

    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "multipart/form-data; boundary=b"}
    assert client.post("/v1/avatars", headers=headers, content=endless()).status_code == 413


def test_every_answer_has_security_headers(client):
    for path in ("/healthz", "/v1/voices", "/nothing"):
        assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_a_slow_body_is_cut_off(monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def never():
        await asyncio.sleep(60)

    with pytest.raises(HTTPException) as refusal:
        run_async(guard.SteadyReceive(never, 100)())
    assert refusal.value.status_code == 408


def test_after_the_body_there_is_no_hurry(monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    messages = [{"type": "http.request", "body": b"x"}, {"type": "http.disconnect"}]

    async def receive():
        if len(messages) == 1:
            await asyncio.sleep(0.2)
        return messages.pop(0)

    async def read():
        steady = guard.SteadyReceive(receive, 100)
        return [await steady(), await steady()]

    assert run_async(read())[1]["type"] == "http.disconnect"


def test_without_a_token_only_localhost_is_answered(server_talker):
    from fastapi.testclient import TestClient

    from anitalker.server.application import build_application

    with TestClient(build_application(server_talker, ServerSettings()), base_url="http://rebound.example") as client:
        assert client.get("/v1/voices").status_code == 403
