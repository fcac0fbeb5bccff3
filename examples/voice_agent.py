"""A voice agent with a face: hears who talks to a live session, asks a chat model, and lets the face say the answer.

    anitalker serve                  # then open http://127.0.0.1:8080, "the face listens to me", Start
    pip install openai
    OPENAI_API_KEY=... python examples/voice_agent.py

The microphone is the browser's, which takes the face's own voice out of it. Everything else is any server that speaks
OpenAI's interface, on this machine or elsewhere:

    OPENAI_BASE_URL, OPENAI_API_KEY          for all three end points
    TRANSCRIPTION_URL, CHAT_URL, SPEECH_URL  where one is elsewhere, such as http://127.0.0.1:11434/v1
    TRANSCRIPTION_MODEL, CHAT_MODEL, SPEECH_MODEL, SPEECH_VOICE, INSTRUCTIONS
    ANITALKER_URL, ANITALKER_TOKEN           of `anitalker serve`
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import wave
from collections.abc import AsyncIterator

import httpx
import numpy as np
import soxr
from openai import AsyncOpenAI, OpenAIError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from anitalker.config import SAMPLE_RATE
from anitalker.media.text_to_speech import sentences

SPEECH_RATE = 24_000  # of OpenAI's format pcm: 16-bit mono
LOUD_RMS = 0.01  # -40 dB of full scale; in a noisy room take a voice activity model
BEGIN_SECONDS, END_SECONDS = 0.15, 0.7  # of sound that begins a turn, of silence that ends it
BEFORE_SECONDS = 0.5  # of what was heard before the beginning was noticed
LONGEST_SECONDS = 60.0  # of a turn
POLL_SECONDS = 1.0  # between two looks for new sessions
INSTRUCTIONS = "You are talking to somebody. Answer in one to three short sentences, without lists or markup."


class Turns:
    """Cuts what a microphone hears into turns, by loudness."""

    def __init__(self) -> None:
        self._pieces: list[np.ndarray] = []
        self._loud = self._silent = 0.0  # seconds
        self._talking = False
        self.sound = np.zeros(0, np.float32)  # of the last turn, at 16 kHz

    def take(self, samples: np.ndarray) -> str:
        """Hear samples, float32 [N] at 16 kHz: "begins" when a turn begins, "ends" at its end, otherwise ""."""
        seconds = len(samples) / SAMPLE_RATE
        is_loud = float(np.sqrt(np.square(samples).mean())) > LOUD_RMS
        self._pieces.append(samples)
        if self._talking:
            self._silent = 0.0 if is_loud else self._silent + seconds
            if self._silent < END_SECONDS and self._length() < LONGEST_SECONDS:
                return ""
            self.sound, self._pieces = np.concatenate(self._pieces), []
            self._talking, self._loud = False, 0.0
            return "ends"
        self._loud = self._loud + seconds if is_loud else max(0.0, self._loud - seconds)
        if self._loud < BEGIN_SECONDS:
            while self._length() > BEFORE_SECONDS:
                self._pieces.pop(0)
            return ""
        self._talking, self._silent = True, 0.0
        return "begins"

    def _length(self) -> float:
        return sum(map(len, self._pieces)) / SAMPLE_RATE


class Services:
    """The three end points: speech to text, text to text, text to speech."""

    def __init__(self, variables: dict[str, str]) -> None:
        key = variables.get("OPENAI_API_KEY") or "none"  # local servers want none
        self._variables = variables
        self._clients = {
            name: AsyncOpenAI(base_url=variables.get(f"{name}_URL") or variables.get("OPENAI_BASE_URL"), api_key=key)
            for name in ("TRANSCRIPTION", "CHAT", "SPEECH")
        }

    def _setting(self, name: str, default: str) -> str:
        return self._variables.get(name) or default

    async def transcribe(self, sound: np.ndarray) -> str:
        """What was said in samples, float32 [N] at 16 kHz."""
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            out.writeframes((sound.clip(-1, 1) * 32767).astype("<i2").tobytes())
        answer = await self._clients["TRANSCRIPTION"].audio.transcriptions.create(
            model=self._setting("TRANSCRIPTION_MODEL", "gpt-4o-mini-transcribe"), file=("turn.wav", file.getvalue())
        )
        return answer.text.strip()

    async def answer(self, history: list[dict[str, str]]) -> AsyncIterator[str]:
        """The model's answer, a sentence at a time, each as soon as it is whole."""
        instructions = {"role": "system", "content": self._setting("INSTRUCTIONS", INSTRUCTIONS)}
        stream = await self._clients["CHAT"].chat.completions.create(
            model=self._setting("CHAT_MODEL", "gpt-4o-mini"), messages=[instructions, *history], stream=True
        )
        text = ""
        async for chunk in stream:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            *whole, rest = sentences(text) or [""]
            if whole:
                for sentence in whole:
                    yield sentence
                text = rest + text[len(text.rstrip()) :]
        for sentence in sentences(text):
            yield sentence

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """A sentence as 16-bit mono PCM at 16 kHz, while it is synthesised."""
        resampler, odd = soxr.ResampleStream(SPEECH_RATE, SAMPLE_RATE, 1, dtype="int16"), b""
        speech = self._clients["SPEECH"].audio.speech.with_streaming_response.create(
            model=self._setting("SPEECH_MODEL", "gpt-4o-mini-tts"),
            voice=self._setting("SPEECH_VOICE", "alloy"),
            input=text,
            response_format="pcm",
        )
        async with speech as response:
            async for data in response.iter_bytes(SPEECH_RATE // 5):  # 0.1 s
                data = odd + data
                whole = len(data) // 2 * 2
                odd = data[whole:]
                yield resampler.resample_chunk(np.frombuffer(data[:whole], "<i2")).tobytes()
        yield resampler.resample_chunk(np.zeros(0, np.int16), last=True).tobytes()


class Agent:
    """One conversation, over the WebSocket of a live session."""

    def __init__(self, services: Services, socket: ClientConnection) -> None:
        self.services, self.socket, self.turns = services, socket, Turns()
        self.history: list[dict[str, str]] = []
        self._answering: asyncio.Task | None = None
        self._speaking = False  # from the first word of an answer until it was heard

    async def run(self) -> None:
        """Converse until the session ends."""
        try:
            async for message in self.socket:
                if isinstance(message, str):
                    self._speaking &= json.loads(message)["event"] != "turn_ended"
                    continue
                state = self.turns.take(np.frombuffer(message, "<i2").astype(np.float32) / 32768)
                if state == "begins":
                    await self.interrupt()
                elif state == "ends":
                    self._answering = asyncio.create_task(self.reply(self.turns.sound))
        except ConnectionClosed:
            pass
        finally:
            await self._stop()

    async def interrupt(self) -> None:
        """The other begins to talk: be quiet, and remember it."""
        await self._stop()
        if self._speaking:
            self._speaking = False
            self.history[-1]["content"] += " (interrupted)"
            await self.socket.send("interrupt")

    async def _stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)

    async def reply(self, sound: np.ndarray) -> None:
        """Answer a turn, float32 [N] at 16 kHz: the face speaks the first sentence while the next ones are made."""
        try:
            said = await self.services.transcribe(sound)
            if not said:
                return
            print(f"you:  {said}", flush=True)
            self.history.append({"role": "user", "content": said})
            async for sentence in self.services.answer(self.history):
                print(f"face: {sentence}", flush=True)
                self._remember(sentence)
                async for speech in self.services.speak(sentence):
                    await self.socket.send(speech)
            await self.socket.send("end_of_turn")
        except OpenAIError as error:
            print(f"error: {' '.join(str(error).split())[:300]}", file=sys.stderr, flush=True)

    def _remember(self, sentence: str) -> None:
        self._speaking = True
        if self.history[-1]["role"] == "assistant":
            self.history[-1]["content"] += f" {sentence}"
        else:
            self.history.append({"role": "assistant", "content": sentence})


async def converse(services: Services, url: str, headers: dict[str, str], session: str) -> None:
    """Join a session until it ends."""
    address = f"{url.replace('http', 'ws', 1)}/v1/sessions/{session}/speech?microphone=true"
    try:
        async with connect(address, additional_headers=headers) as socket:
            print(f"joined session {session[:8]}", flush=True)
            await Agent(services, socket).run()
    except (OSError, ConnectionClosed) as error:
        print(f"error: session {session[:8]}: {error}", file=sys.stderr, flush=True)


async def main(variables: dict[str, str]) -> None:
    """Join every session in which the face listens, until Ctrl-C."""
    url = variables.get("ANITALKER_URL", "http://127.0.0.1:8080").rstrip("/")
    token = variables.get("ANITALKER_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    services, joined = Services(variables), dict[str, asyncio.Task]()
    print(f"waiting for a session at {url}", flush=True)
    async with httpx.AsyncClient(base_url=url, headers=headers) as http:
        while True:
            for session in (await http.get("/v1/sessions")).raise_for_status().json():
                if session["connected"] and session["microphone"] == "listen" and session["id"] not in joined:
                    joined[session["id"]] = asyncio.create_task(converse(services, url, headers, session["id"]))
            await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    try:
        asyncio.run(main(dict(os.environ)))
    except KeyboardInterrupt:
        sys.exit(130)
    except httpx.HTTPError as error:
        sys.exit(f"error: {error}; start the server first: anitalker serve")
