"""Sessions that are dropped in every state, and one that goes on for long: nothing grows, nothing drifts."""

import asyncio
import fractions
import gc
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import httpx
import numpy as np
import pytest

from tests.conftest import run_async, served

SESSIONS = int(os.environ.get("ANITALKER_DROPPED_SESSIONS", "200"))
SOAK_SECONDS = float(os.environ.get("ANITALKER_SOAK_SECONDS", "600"))
GROWTH, DRIFT_SECONDS = 0.05, 0.04
PATIENCE = 120  # seconds; a free machine needs a few


def connection_of_this_machine():
    from aiortc import RTCConfiguration, RTCPeerConnection

    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def offer_of(connection, avatar, **more):
    """The body of a request for a session."""
    connection.addTransceiver("audio", direction="recvonly")
    connection.addTransceiver("video", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    return {"sdp": connection.localDescription.sdp, "avatar": avatar, "size": 64, "frame": "crop", **more}


async def break_off_in_the_request(http, avatar):
    """The connection ends in the middle of the offer."""
    _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    head = ["POST /v1/sessions HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 9000"]
    writer.write("\r\n".join([*head, "", '{"sdp": "v=0']).encode())
    await writer.drain()
    writer.transport.abort()


async def leave_before_the_answer(http, avatar):
    """The client is gone when the face is made."""
    offer = await offer_of(connection_of_this_machine(), avatar)
    request = asyncio.create_task(http.post("/v1/sessions", json=offer))
    await asyncio.sleep(0.05)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


async def never_connect(http, avatar):
    """The answer is not used."""
    await http.post("/v1/sessions", json=await offer_of(connection_of_this_machine(), avatar))


async def vanish(http, avatar):
    """Connected, and then there is silence: the event loop ends with everything open."""
    from aiortc import RTCSessionDescription

    connection, tracks = connection_of_this_machine(), {}
    connection.on("track", lambda track: tracks.setdefault(track.kind, track))
    answer = await http.post("/v1/sessions", json=await offer_of(connection, avatar))
    if answer.status_code == 201:  # else others are not noticed yet
        await connection.setRemoteDescription(RTCSessionDescription(answer.json()["sdp"], "answer"))
        await asyncio.wait_for(tracks["video"].recv(), PATIENCE)


WAYS = (break_off_in_the_request, vanish, leave_before_the_answer, vanish, never_connect, vanish)  # half mid-handshake


@pytest.mark.soak
def test_sessions_that_are_dropped_without_a_word_leave_nothing(server_talker, settings, example_portrait, monkeypatch):
    from anitalker.server.application import build_application
    from anitalker.server.http_protocol import TimedHeaders

    monkeypatch.setattr("anitalker.server.live_sessions.CONNECT_SECONDS", 3.0)
    monkeypatch.setattr("anitalker.server.live_sessions.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.5)  # s: how soon a silent client is noticed
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 2)
    app = build_application(server_talker, replace(settings, drawing_processes=1))
    with served(app, http=TimedHeaders) as url:
        with example_portrait.open("rb") as file:
            avatar = app.state.avatars.add(file, example_portrait.name, "largest").id

        def drop(way):
            async def work():
                async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
                    for _ in range(PATIENCE * 10):
                        if app.state.sessions.count < settings.max_sessions:
                            break
                        await asyncio.sleep(0.1)
                    await way(http, avatar)

            run_async(work())

        for way in WAYS:  # what is loaded or kept on first use is no leak
            drop(way)
        before = _left(app)
        for number in range(SESSIONS):
            drop(WAYS[number % len(WAYS)])
        after = _left(app)
    assert app.state.metrics.opened._value.get() >= SESSIONS // 3
    assert after["faces"] == 0 and after["threads"] <= before["threads"] + 2, (before, after)
    assert after["tasks"] <= before["tasks"] + 2 and after["files"] <= before["files"] + 8, (before, after)


def _left(app):
    """Tasks of the server's loop, threads, open files, once all sessions have ended."""
    for _ in range(PATIENCE * 10):
        if not app.state.sessions.count:
            break
        time.sleep(0.1)
    assert app.state.sessions.count == 0
    gc.collect()
    time.sleep(1)

    async def count():
        return len(asyncio.all_tasks())

    tasks = asyncio.run_coroutine_threadsafe(count(), app.state.sessions._looking.get_loop()).result(PATIENCE)
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = threading.enumerate()
    faces = sum(thread.name == "face" for thread in threads)
    return {"tasks": tasks, "threads": len(threads), "files": files, "faces": faces}


@pytest.mark.soak
def test_a_long_session_neither_grows_nor_drifts(root, example_portrait, tmp_path):
    """The server in a process of its own, with the shipped weights; the client's microphone is spoken back."""
    with socket.create_server(("127.0.0.1", 0)) as trial:
        port = trial.getsockname()[1]
    command = [sys.executable, "-m", "anitalker", "serve", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("ANITALKER_TOKEN", None)
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            facts = run_async(_talk(f"http://127.0.0.1:{port}", example_portrait, server.pid))
        finally:
            server.terminate()
            server.wait(PATIENCE)
    memory = [np.median(quarter) for quarter in np.array_split(facts["memory"], 4)]
    assert abs(memory[3] / memory[1] - 1) <= GROWTH, memory  # the first quarter warms up
    audio, video = (_delays(facts[kind]) for kind in ("audio", "video"))
    assert abs(audio[3] - audio[1]) <= DRIFT_SECONDS, audio
    assert abs((video[3] - audio[3]) - (video[1] - audio[1])) <= DRIFT_SECONDS, (audio, video)


def _delays(frames):
    """Arrival less media time of the quickest frames in each quarter, in seconds; the origin does not matter.

    The quickest: frames that waited for a busy core say nothing about the clocks.
    """
    arrivals, times, rates = np.array(frames).T
    seconds = np.unwrap(times, period=2**32) / rates
    return [float(np.percentile(quarter, 2)) for quarter in np.array_split(arrivals - seconds, 4)]


async def _talk(url, portrait, server):
    """Say a syllable a second for SOAK_SECONDS; the arrivals and media times of frames, and the memory of the server
    (its process number) and of the processes that draw for it."""
    import psutil
    from aiortc import MediaStreamTrack, RTCSessionDescription
    from av import AudioFrame

    class Microphone(MediaStreamTrack):
        kind, at = "audio", 0

        async def recv(self):
            self.begin = getattr(self, "begin", time.monotonic())
            await asyncio.sleep(max(0.0, self.begin + (self.at + 960) / 48_000 - time.monotonic()))
            loud = self.at % 48_000 < 12_000
            samples = 0.3 * np.sin(2 * np.pi * 180 * (self.at + np.arange(960)) / 48_000) * loud
            frame = AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, self.at, fractions.Fraction(1, 48_000)
            self.at += 960
            return frame

    facts = {"audio": [], "video": [], "memory": []}
    connection, tracks = connection_of_this_machine(), {}
    connection.on("track", lambda track: tracks.setdefault(track.kind, track))
    connection.addTrack(Microphone())
    connection.addTransceiver("video", direction="recvonly")

    async def read(kind):
        while True:
            frame = await tracks[kind].recv()
            facts[kind].append((time.monotonic(), frame.pts, 1 / float(frame.time_base)))

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        await _answers(http)
        with portrait.open("rb") as file:
            avatar = (await http.post("/v1/avatars", files={"portrait": (portrait.name, file)})).json()["id"]
        await connection.setLocalDescription(await connection.createOffer())
        offer = {"sdp": connection.localDescription.sdp, "avatar": avatar, "microphone": "speak", "size": 256}
        answer = (await http.post("/v1/sessions", json=offer)).raise_for_status().json()
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        readers = [asyncio.create_task(read(kind)) for kind in ("audio", "video")]
        drawing, end = psutil.Process(server).children(recursive=True), time.monotonic() + SOAK_SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(SOAK_SECONDS / 60)
            text = (await http.get("/metrics")).text
            own = float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[1])
            facts["memory"].append(own + sum(process.memory_info().rss for process in drawing))
        assert (await http.get(f"/v1/sessions/{answer['id']}")).json()["connected"]
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    await connection.close()
    return facts


async def _answers(http):
    for _ in range(PATIENCE * 5):
        try:
            return await http.get("/healthz")
        except httpx.HTTPError:
            await asyncio.sleep(0.2)
    raise AssertionError("the server did not start")
