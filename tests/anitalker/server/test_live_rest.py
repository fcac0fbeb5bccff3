"""Live sessions over WebRTC with aiortc as the client, in one process: RTP in to RTP out, messages, faults."""

import asyncio
import contextlib
import fractions
import gc
import itertools
import json
import re
import threading
from dataclasses import replace

import httpx
import numpy as np
import pytest

from anitalker.server.live_session import LiveSession
from tests.conftest import run_async

TONE = 0.3 * np.sin(np.arange(16_000) * 0.3)
PATIENCE = 30  # seconds; a free machine needs a few


def connection_of_this_machine():
    from aiortc import RTCConfiguration, RTCPeerConnection

    return RTCPeerConnection(RTCConfiguration(iceServers=[]))  # by default aiortc asks a server on the internet


class Client:
    """A browser's side: a connection, what it receives, and requests to the server in the same event loop."""

    def __init__(self, http, avatar):
        self.http, self.avatar, self.messages = http, avatar, []
        self.connection, self.tracks = connection_of_this_machine(), {}
        self.strip = lambda sdp: sdp  # what the server gets of the offer
        self.connection.on("track", lambda track: self.tracks.setdefault(track.kind, track))

    async def offer(self, track=None, **more):
        self.connection.addTransceiver(track or "audio", direction="sendrecv" if track else "recvonly")
        self.connection.addTransceiver("video", direction="recvonly")
        self.channel = self.connection.createDataChannel("messages")
        self.channel.on("message", lambda text: self.messages.append(json.loads(text)))
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp = self.strip(self.connection.localDescription.sdp)
        wanted = {"sdp": sdp, "avatar": self.avatar, "size": 64, "frame": "crop"}
        return await self.http.post("/v1/sessions", json={**wanted, **more})

    async def open(self, track=None, **more):
        from aiortc import RTCSessionDescription

        answer = await self.offer(track, **more)
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        await self.connection.setRemoteDescription(RTCSessionDescription(answer.json()["sdp"], "answer"))
        return self

    async def hear(self, frames=2000, level=0.02):
        """Loudness of the audio until it is louder than `level`: whether it was."""
        for _ in range(frames):
            sound = (await self.tracks["audio"].recv()).to_ndarray()
            if np.sqrt(np.square(sound / 32768).mean()) > level:
                return True
        return False

    async def told(self, event):
        for _ in range(PATIENCE * 20):
            if any(message["event"] == event for message in self.messages):
                return True
            await asyncio.sleep(0.05)
        return False


@pytest.fixture
def run_live(server_talker, settings, example_portrait):
    """Runs a coroutine function with (application, http client, avatar id); afterwards nothing of it is left."""
    from anitalker.server.application import build_application

    async def main(work):
        app = build_application(server_talker, settings)
        avatar = await asyncio.to_thread(_add, app, example_portrait)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=PATIENCE) as http:
                await asyncio.wait_for(work(app, http, avatar), 3 * PATIENCE)
        assert app.state.sessions.count == 0

    return lambda work: run_async(main(work))


def _add(app, portrait):
    with portrait.open("rb") as file:
        return app.state.avatars.add(file, portrait.name, "largest").id


def faces():
    return [thread for thread in threading.enumerate() if thread.name == "face"]


@pytest.mark.slow
def test_a_microphone_comes_back_as_voice_and_moving_pictures(run_live):
    from aiortc import MediaStreamTrack
    from av import AudioFrame

    class Microphone(MediaStreamTrack):
        kind, at = "audio", 0

        async def recv(self):
            await asyncio.sleep(0.02)
            samples = (np.resize(TONE, 960)[None] * 32767).astype(np.int16)
            frame = AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, self.at, fractions.Fraction(1, 48_000)
            self.at += 960
            return frame

    async def work(app, http, avatar):
        client = await Client(http, avatar).open(Microphone(), microphone="speak")
        pictures = [await client.tracks["video"].recv() for _ in range(5)]
        assert all((picture.width, picture.height) == (256, 256) for picture in pictures)
        assert all(later.pts > earlier.pts for earlier, later in itertools.pairwise(pictures))
        assert await client.hear()
        assert await client.told("speaking") and await client.told("figures")
        facts = (await http.get(f"/v1/sessions/{client.id}")).json()
        assert facts["connected"] and facts["microphone"] == "speak"
        assert (await http.delete(f"/v1/sessions/{client.id}")).status_code == 204
        assert (await http.get(f"/v1/sessions/{client.id}")).status_code == 404
        await client.connection.close()

    run_live(work)
    assert not faces()


@pytest.mark.slow
def test_a_text_is_said_and_an_interruption_silences_it(run_live):
    async def work(app, http, avatar):
        client = await Client(http, avatar).open()
        said = await http.post(f"/v1/sessions/{client.id}/say", data={"text": "Hello there. " * 20, "voice": "en"})
        assert said.status_code == 202 and said.json()["seconds"] > 5
        assert await client.hear()
        assert (await http.post(f"/v1/sessions/{client.id}/interrupt")).status_code == 204
        face = app.state.sessions.get(client.id).face
        assert face.waiting_seconds < 0.1 and await client.told("idle")
        assert not any(message["event"] == "turn_ended" for message in client.messages)
        await client.connection.close()
        assert await _ends(app)

    run_live(work)


@pytest.mark.slow
def test_candidates_may_follow_the_offer(run_live):
    """An offer without candidates is answered; the connection opens when they come, in two messages (RFC 9725)."""

    async def work(app, http, avatar):
        client = Client(http, avatar)
        client.strip = lambda sdp: re.sub("a=(candidate|end-of-candidates).*\r\n", "", sdp)
        await client.open()
        candidates = re.findall("a=candidate.*", client.connection.localDescription.sdp)
        assert candidates and not (await http.get(f"/v1/sessions/{client.id}")).json()["connected"]
        headers = {"content-type": "application/trickle-ice-sdpfrag"}
        for lines in (candidates[:1], [*candidates[1:], "a=end-of-candidates"]):
            body = "\r\n".join(["m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *lines, ""])
            answer = await http.patch(f"/v1/sessions/{client.id}", content=body, headers=headers)
            assert answer.status_code == 204, answer.text
        await client.tracks["video"].recv()
        assert (await http.get(f"/v1/sessions/{client.id}")).json()["connected"]
        await client.connection.close()

    run_live(work)


@pytest.mark.slow
def test_open_sessions_are_listed(run_live):
    async def work(app, http, avatar):
        assert (await http.get("/v1/sessions")).json() == []
        client = await Client(http, avatar).open(microphone="listen")
        (facts,) = (await http.get("/v1/sessions")).json()
        assert (facts["id"], facts["microphone"]) == (client.id, "listen")
        await client.connection.close()

    run_live(work)


async def _ends(app):
    for _ in range(PATIENCE * 20):
        if not app.state.sessions.count:
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.slow
def test_a_recording_is_said_and_its_end_is_told(run_live, clicks):
    async def work(app, http, avatar):
        client = await Client(http, avatar).open()
        said = await http.post(f"/v1/sessions/{client.id}/say", files={"speech": ("a.wav", clicks.read_bytes())})
        assert said.json()["seconds"] == pytest.approx(1.03, abs=0.01)
        assert await client.told("turn_ended")
        client.channel.send("interrupt")
        await client.connection.close()

    run_live(work)


@pytest.mark.slow
def test_one_session_more_than_allowed_is_refused(run_live, monkeypatch):
    async def work(app, http, avatar):
        clients = [Client(http, avatar) for _ in range(3)]
        answers = [await client.offer() for client in clients]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert "no more are allowed" in answers[2].json()["detail"]
        await http.delete(f"/v1/sessions/{answers[0].json()['id']}")
        assert (await Client(http, avatar).offer()).status_code == 201
        text = (await http.get("/metrics")).text
        assert "anitalker_sessions_refused_total 1.0" in text and "anitalker_sessions 2.0" in text
        for client in clients:
            await client.connection.close()

    run_live(work)
    assert not faces()


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "nonsense",
        "v=0\r\n",
        "v=0\r\nm=audio x y\r\n",
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
        "\0" * 50,
        "v=0" + "\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111" * 20,
    ],
)
def test_malformed_offers_are_refused_and_leave_nothing(run_live, sdp):
    async def work(app, http, avatar):
        tasks = len(asyncio.all_tasks())
        answer = await http.post("/v1/sessions", json={"sdp": sdp, "avatar": avatar})
        assert answer.status_code == 400 and "\n" not in answer.json()["detail"], answer.text
        await asyncio.sleep(0)
        assert app.state.sessions.count == 0 and len(asyncio.all_tasks()) == tasks

    run_live(work)
    assert not faces()


def test_offers_without_pictures_or_portrait_are_refused(run_live):
    async def work(app, http, avatar):
        connection = connection_of_this_machine()
        connection.addTransceiver("audio", direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        offer = {"sdp": connection.localDescription.sdp, "avatar": avatar}
        assert "no video" in (await http.post("/v1/sessions", json=offer)).json()["detail"]
        assert (await http.post("/v1/sessions", json={**offer, "avatar": "x"})).status_code == 404
        assert (await http.post("/v1/sessions", json={**offer, "size": 1})).status_code == 400
        assert (await http.post("/v1/sessions", json={**offer, "microphone": "sing"})).status_code == 422
        await connection.close()

    run_live(work)


def test_a_session_that_never_connects_ends(run_live, monkeypatch):
    monkeypatch.setattr("anitalker.server.live_sessions.CONNECT_SECONDS", 0.1)
    monkeypatch.setattr("anitalker.server.live_sessions.LOOK_SECONDS", 0.05)

    async def work(app, http, avatar):
        client = Client(http, avatar)
        answer = await client.offer()
        assert await _ends(app)
        assert (await http.post(f"/v1/sessions/{answer.json()['id']}/interrupt")).status_code == 404
        await client.connection.close()

    run_live(work)


def test_a_silent_session_ends(settings):
    async def work():
        session = LiveSession("id", "off", (), None, lambda session: None)
        session.connected, session.last_active = True, 100.0
        over = [session.is_over(now, 30, settings.idle_seconds) for now in (399, 401)]
        await session.close()
        return over

    assert run_async(work()) == [False, True]


@pytest.mark.slow
def test_sessions_that_are_dropped_leave_nothing(run_live):
    """Twenty clients: half leave before the answer is used, half close without a word."""

    async def work(app, http, avatar):
        tasks, files = len(asyncio.all_tasks()), _open_files()
        for number in range(20):
            client = Client(http, avatar)
            if number % 2:
                await client.open()
                await client.connection.close()
            else:
                answer = await client.offer()
                await client.connection.close()
                await http.delete(f"/v1/sessions/{answer.json()['id']}")
            with contextlib.suppress(KeyError):
                await app.state.sessions.close(getattr(client, "id", ""))
        assert await _ends(app)
        gc.collect()
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) <= tasks + 2 and _open_files() <= files + 8

    run_live(work)
    assert not faces()


def _open_files():
    import os

    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_clients_are_told_the_ice_servers(server_talker, settings):
    from fastapi.testclient import TestClient

    from anitalker.server.application import build_application
    from anitalker.server.settings import IceServer

    app = build_application(server_talker, replace(settings, ice_servers=(IceServer(("stun:stun.example.org",)),)))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/v1/sessions/ice-servers").json() == [{"urls": ["stun:stun.example.org"]}]
