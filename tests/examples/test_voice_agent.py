"""The voice agent: turns by loudness, OpenAI's end points on a stand-in server, and a whole conversation."""

import asyncio
import contextlib
import fractions
import importlib.util
import io
import json
import wave

import numpy as np
import pytest

from tests.conftest import run_async, served

pytest.importorskip("openai", reason="the example needs the package openai")
pytest.importorskip("aiortc", reason='the server needs the extra: pip install "anitalker[serve]"')
TONE = 0.3 * np.sin(np.arange(24_000) * 0.2).astype(np.float32)
PATIENCE = 60  # seconds; a free machine needs a few


@pytest.fixture(scope="module")
def example(root):
    spec = importlib.util.spec_from_file_location("voice_agent", root / "examples/voice_agent.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def end_points():
    """The address of a server with OpenAI's three end points, and what it was asked."""
    from fastapi import FastAPI, Form, UploadFile
    from fastapi.responses import JSONResponse, Response, StreamingResponse

    app, asked = FastAPI(), []

    @app.post("/v1/audio/transcriptions")
    async def transcribe(file: UploadFile, model: str = Form()):
        with wave.open(io.BytesIO(await file.read())) as sound:
            asked.append(("transcription", model, sound.getframerate(), sound.getnframes() / sound.getframerate()))
        return {"text": "How are you?"}

    @app.post("/v1/chat/completions")
    async def chat(request: dict):
        asked.append(("chat", request["model"], request["messages"]))
        if "overloaded" in str(request["messages"]):
            return JSONResponse({"error": {"message": "too many\nrequests"}}, 400)

        async def stream():
            for piece in ("Very we", "ll. And", " you?"):
                chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                yield f"data: {json.dumps({**chunk, 'choices': [{'index': 0, 'delta': {'content': piece}}]})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.post("/v1/audio/speech")
    async def speech(request: dict):
        asked.append(("speech", request["response_format"], request["input"]))
        return Response((TONE * 32767).astype("<i2").tobytes(), media_type="application/octet-stream")

    with served(app) as url:
        yield {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "x", "CHAT_MODEL": "small"}, asked


def hear(turns, samples, packet=320):
    states = [turns.take(samples[at : at + packet]) for at in range(0, len(samples), packet)]
    return [(number, state) for number, state in enumerate(states) if state]


def test_a_turn_begins_with_sound_and_ends_with_silence(example):
    turns = example.Turns()
    silence = np.zeros(16_000, np.float32)
    assert hear(turns, np.concatenate([silence, TONE[:320], silence])) == []  # a click is no turn
    (began, begins), (ended, ends) = hear(turns, np.concatenate([TONE[:16_000], silence]))
    assert (begins, ends) == ("begins", "ends")
    assert began * 0.02 == pytest.approx(example.BEGIN_SECONDS, abs=0.021)
    assert ended * 0.02 == pytest.approx(1 + example.END_SECONDS, abs=0.041)
    assert 1.7 < len(turns.sound) / 16_000 < 2.3 and np.abs(turns.sound).max() > 0.29
    assert hear(turns, silence) == []


def test_an_endless_turn_is_cut(example):
    turns = example.Turns()
    states = [state for _, state in hear(turns, np.resize(TONE, 16_000 * 61), 1600)]
    assert states == ["begins", "ends", "begins"] and len(turns.sound) == 16_000 * example.LONGEST_SECONDS


def test_the_three_end_points_are_asked_as_openai_has_them(example, end_points):
    variables, asked = end_points

    async def work():
        services = example.Services(variables)
        said = await services.transcribe(TONE[:8000])
        answer = [sentence async for sentence in services.answer([{"role": "user", "content": said}])]
        return said, answer, b"".join([pcm async for pcm in services.speak("Hello.")])

    said, answer, speech = run_async(work())
    assert (said, answer) == ("How are you?", ["Very well.", "And you?"])
    assert len(speech) == pytest.approx(2 * 16_000, abs=4)  # a second
    assert np.abs(np.frombuffer(speech, "<i2")).max() / 32767 == pytest.approx(0.3, abs=0.02)
    assert asked[0] == ("transcription", "gpt-4o-mini-transcribe", 16_000, 0.5)
    assert asked[1][:2] == ("chat", "small") and asked[1][2][1] == {"role": "user", "content": "How are you?"}
    assert asked[2] == ("speech", "pcm", "Hello.")


def test_an_end_point_elsewhere(example, end_points):
    variables, _asked = end_points
    base = variables.pop("OPENAI_BASE_URL")
    services = example.Services({**variables, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "TRANSCRIPTION_URL": base})
    assert run_async(services.transcribe(TONE)) == "How are you?"


class Socket:
    """The agent's side of a WebSocket: gives messages, keeps what is sent."""

    def __init__(self):
        self.sent, self._messages = [], asyncio.Queue()

    def give(self, message):
        self._messages.put_nowait(message)

    async def send(self, message):
        self.sent.append(message)

    async def __aiter__(self):
        while (message := await self._messages.get()) is not None:
            yield message


def pcm(samples):
    return [(samples[at : at + 320] * 32767).astype("<i2").tobytes() for at in range(0, len(samples), 320)]


def test_an_answer_is_spoken_and_an_interruption_remembered(example, end_points):
    variables, _asked = end_points

    async def work():
        agent = example.Agent(example.Services(variables), Socket())
        running = asyncio.create_task(agent.run())
        for packet in pcm(np.concatenate([TONE[:16_000], np.zeros(16_000, np.float32)])):
            agent.socket.give(packet)
        while "end_of_turn" not in agent.socket.sent:
            await asyncio.sleep(0.02)
        for packet in pcm(TONE[:8000]):
            agent.socket.give(packet)
        agent.socket.give(None)
        await running
        return agent

    agent = run_async(asyncio.wait_for(work(), PATIENCE))
    spoken = b"".join(message for message in agent.socket.sent if isinstance(message, bytes))
    assert len(spoken) == pytest.approx(2 * 2 * 16_000, abs=8)  # two sentences of a second
    assert agent.socket.sent[-2:] == ["end_of_turn", "interrupt"]
    assert agent.history == [
        {"role": "user", "content": "How are you?"},
        {"role": "assistant", "content": "Very well. And you? (interrupted)"},
    ]


def test_what_was_heard_to_its_end_is_not_interrupted(example):
    async def work():
        agent = example.Agent(None, Socket())
        agent.history, agent._speaking = [{"role": "assistant", "content": "Yes."}], True
        agent.socket.give('{"event": "turn_ended"}')
        for packet in pcm(TONE[:8000]):
            agent.socket.give(packet)
        agent.socket.give(None)
        await agent.run()
        return agent

    agent = run_async(work())
    assert agent.socket.sent == [] and agent.history[0]["content"] == "Yes."


def test_a_refusal_is_one_line(example, end_points, capsys):
    variables, _asked = end_points

    async def work():
        agent = example.Agent(example.Services({**variables, "INSTRUCTIONS": "overloaded"}), Socket())
        await agent.reply(TONE)
        return agent.socket.sent

    assert run_async(work()) == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and "too many" in lines[0]


@pytest.mark.slow
def test_a_conversation_over_a_real_session(example, end_points, untrained_model, fixed_finder, example_portrait):
    """A client says something into its microphone; the agent joins, and its voice comes out of the client's speaker."""
    import httpx
    from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    from av import AudioFrame

    from anitalker import pipeline
    from anitalker.server.application import build_application
    from anitalker.server.settings import ServerSettings

    talker = pipeline.load(untrained_model, "cpu")
    talker._finders["own"] = fixed_finder()
    variables, asked = end_points

    class Microphone(MediaStreamTrack):
        """Half a second of silence, a second of sound, then silence."""

        kind, at = "audio", 0

        async def recv(self):
            await asyncio.sleep(0.02)
            loud = 24_000 <= self.at < 72_000
            samples = np.resize(TONE, (1, 960)) * 32767 * loud
            frame = AudioFrame.from_ndarray(samples.astype(np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, self.at, fractions.Fraction(1, 48_000)
            self.at += 960 if joined.is_set() or self.at < 24_000 else 0
            return frame

    joined = asyncio.Event()

    async def work(url):
        connection, tracks = RTCPeerConnection(RTCConfiguration(iceServers=[])), {}
        connection.on("track", lambda track: tracks.setdefault(track.kind, track))
        connection.addTrack(Microphone())
        connection.addTransceiver("video", direction="recvonly")
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
            with example_portrait.open("rb") as file:
                avatar = (await http.post("/v1/avatars", files={"portrait": ("face.webp", file)})).json()["id"]
            await connection.setLocalDescription(await connection.createOffer())
            offer = {"sdp": connection.localDescription.sdp, "avatar": avatar, "size": 64, "microphone": "listen"}
            answer = (await http.post("/v1/sessions", json=offer)).raise_for_status().json()
            await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            agent = asyncio.create_task(example.main({**variables, "ANITALKER_URL": url}))
            heard = 0.0
            while heard < 0.1:
                joined.set()
                sound = (await tracks["audio"].recv()).to_ndarray() / 32768
                heard = float(np.sqrt(np.square(sound).mean()))
            agent.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await agent
            await http.delete(f"/v1/sessions/{answer['id']}")
        await connection.close()

    with served(build_application(talker, ServerSettings())) as url:
        run_async(asyncio.wait_for(work(url), 3 * PATIENCE))
    assert [kind for kind, *_ in asked[:3]] == ["transcription", "chat", "speech"]
