"""One client's live face behind a WebRTC connection."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.media.text_to_speech import sentences, speak
from anitalker.media.video import read_audio
from anitalker.provenance.audio_mark import hop, mark_speech
from anitalker.provenance.payload import new_identifier
from anitalker.server.metrics import Metrics
from anitalker.server.rtc_tracks import FaceAudioTrack, FaceVideoTrack, discard, microphone, shorten_jitter_buffer
from anitalker.server.settings import IceServer
from anitalker.streaming.live_face import LiveFace, LiveFrame
from anitalker.streaming.speech_line import is_audible

MAX_MEDIA = 8  # sections of an offer
FIGURES_SECONDS = 1.0  # between two messages with figures
MAX_UNREAD_MESSAGES = 200  # of a WebSocket; later ones are lost: 4 s of a microphone
Messages = asyncio.Queue[str | bytes]
log = logging.getLogger(__name__)


class LiveSession:
    """A connection, its face, and who speaks.

    microphone: what becomes of the client's audio track: speak (the face says it), listen (the face nods at it) or off.
    on_close: called once, when the session has ended for whatever reason.
    """

    def __init__(
        self,
        session_id: str,
        microphone: str,
        ice_servers: tuple[IceServer, ...],
        metrics: Metrics,
        on_close: Callable[[LiveSession], None],
    ) -> None:
        self.id, self.microphone = session_id, microphone
        self.face: LiveFace | None = None
        self.connected, self.last_active = False, time.monotonic()
        self.answered = float("inf")  # when, in seconds of the monotonic clock
        self.turn = 0  # rises with every interruption
        self.identifier = new_identifier()  # that pictures and synthetic speech are marked with
        self.has_marks = True
        self._marked_frames = 0  # of speech, by their number in the pattern of the mark
        self._metrics, self._on_close, self._loop = metrics, on_close, asyncio.get_running_loop()
        servers = [RTCIceServer(list(server.urls), server.username, server.credential) for server in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._video, self._channels, self._tasks = FaceVideoTrack(), set[RTCDataChannel](), set[asyncio.Task]()
        # Of WebSockets that want the events, and those among them that want the client's microphone, too.
        self._listeners, self._microphones = set[Messages](), set[Messages]()
        self._closed, self._ending = False, None
        self._drawn = self._dropped = 0  # frames since the last figures

    async def answer(self, face: LiveFace, offer: str) -> str:
        """Begin to live, and return the answer to an SDP offer, with all ICE candidates. InputError for a bad offer."""
        self.face = face
        connection = self._connection
        connection.on("track", self._take_track)
        connection.on("datachannel", self._take_channel)
        connection.on("connectionstatechange", self._take_state)
        if offer.count("\nm=") > MAX_MEDIA:
            raise InputError(f"the offer has more than {MAX_MEDIA} media sections; offer audio, video and data")
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        except Exception as error:  # aiortc raises whatever its parser stumbles over
            raise InputError(
                f"the offer is no SDP that can be answered ({type(error).__name__}); send a new offer"
            ) from None
        kinds = {transceiver.kind for transceiver in connection.getTransceivers()}
        if missing := {"audio", "video"} - kinds:
            raise InputError(f"the offer has no {' and no '.join(sorted(missing))}; offer to receive audio and video")
        connection.addTrack(FaceAudioTrack(face))
        connection.addTrack(self._video)
        for transceiver in connection.getTransceivers():
            if transceiver.kind == "audio":
                shorten_jitter_buffer(transceiver.receiver)
        try:
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:
            raise InputError(
                f"the offer cannot be answered ({type(error).__name__}); offer VP8 or H.264, and Opus"
            ) from None
        face.start()
        self.answered = time.monotonic()
        self._spawn(self._tell_figures())
        return connection.localDescription.sdp

    def add_candidates(self, candidates: list[RTCIceCandidate], are_last: bool) -> None:
        """Take more of the client's ICE candidates; what comes after the last is ignored."""

        async def add() -> None:
            await asyncio.gather(*(self._connection.addIceCandidate(candidate) for candidate in candidates))
            if are_last:
                await self._connection.addIceCandidate(None)

        self._spawn(add())  # names of the local network (mDNS) take a while to resolve

    def interrupt(self) -> None:
        """Stop speaking: what waits is dropped, the lips close."""
        self.turn += 1
        self._touch()
        self._metrics.interrupts.inc()
        if self.face is not None:
            self.face.interrupt()

    def say_samples(self, samples: np.ndarray, turn: int | None = None) -> bool:
        """Speak samples, float32 [N] at 16 kHz; False, and nothing, if `turn` was interrupted. InputError if too much
        speech waits."""
        if self.face is None or (turn is not None and turn != self.turn):
            return False
        self._touch()
        self.face.push(samples)
        return True

    def say_text(self, text: str, voice: str | None) -> float:
        """Speak a text sentence by sentence; returns its seconds. Blocks while the voice is synthesised. InputError."""
        turn, seconds = self.turn, 0.0
        pieces = sentences(text)
        if not pieces:
            raise InputError(f"text is {text[:40]!r}; give at least one word to speak")
        with tempfile.TemporaryDirectory(prefix="anitalker-say-") as folder:
            for piece in pieces:
                file = Path(folder) / "speech.wav"
                facts = speak(piece, file, voice)
                voice = voice or facts["voice"]  # the language of the first sentence is that of all
                if not self.say_samples(self.mark_synthetic(read_audio(file)), turn):
                    return seconds
                seconds += facts["seconds"]
        self.end_of_turn()
        return seconds

    def mark_synthetic(self, samples: np.ndarray) -> np.ndarray:
        """Mark the samples, float32 [N] at 16 kHz, of a synthetic voice; they are padded to whole frames of the mark.

        The pattern goes on from text to text, so that speech without gaps is marked as a whole.
        """
        if not self.has_marks:
            return samples
        frame = hop(SAMPLE_RATE)
        samples = np.pad(samples, (0, -len(samples) % frame))
        first, self._marked_frames = self._marked_frames, self._marked_frames + len(samples) // frame
        return np.concatenate(list(mark_speech([samples], self.identifier, first)))

    def end_of_turn(self) -> None:
        """Tell `turn_ended` when all that was said so far has been heard."""
        if self.face is not None:
            self.face.end_of_turn()

    def take_frame(self, frame: LiveFrame) -> None:
        """Take a frame of the face, on the face's thread."""
        if frame.is_drawn:
            self._drawn += 1
            self._metrics.frames.inc()
            self._metrics.delay.observe(frame.delay)
            self._call(self._video.put, frame)
        else:
            self._dropped += 1
            self._metrics.dropped.inc()
        if frame.is_speaking:
            self._touch()

    def take_event(self, name: str, value: int) -> None:
        """Take an event of the face, on the face's thread."""
        self._call(self.tell, {"event": name, **({"fps": value} if name == "frame_rate" else {})})

    def _call(self, function: Callable, *arguments: Any) -> None:
        if not self._closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def tell(self, message: dict) -> None:
        """Send a message to the client, by data channel and WebSocket."""
        text = json.dumps(message)
        for channel in self._channels:
            if channel.readyState == "open":
                channel.send(text)
        _put(self._listeners, text)

    def subscribe(self, with_microphone: bool = False) -> Messages:
        """A queue that gets every message; give it back to `unsubscribe`.

        with_microphone: and, as bytes, what the client says: 16-bit mono PCM at 16 kHz.
        """
        queue: Messages = asyncio.Queue(MAX_UNREAD_MESSAGES)
        self._listeners.add(queue)
        if with_microphone:
            self._microphones.add(queue)
        return queue

    def unsubscribe(self, queue: Messages) -> None:
        """Send no more messages to a queue."""
        self._listeners.discard(queue)
        self._microphones.discard(queue)

    def is_over(self, now: float, connect_seconds: float, idle_seconds: float) -> bool:
        """Whether the session never connected in time, was silent for too long, or has a face that stopped."""
        if self.face is not None and self.face.fault is not None:
            return True
        return now - self.answered > connect_seconds if not self.connected else now - self.last_active > idle_seconds

    async def close(self) -> None:
        """End the connection, the face and everything that waits; once."""
        if self._closed:
            return
        self._closed = True
        self.turn += 1
        for task in self._tasks:
            task.cancel()
        self._video.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()
        if self.face is not None:
            await asyncio.to_thread(self.face.close)
        self._on_close(self)

    def _touch(self) -> None:
        self.last_active = time.monotonic()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take_track(self, track: MediaStreamTrack) -> None:
        wanted = track.kind == "audio" and self.microphone != "off"
        self._spawn(self._listen(track) if wanted else discard(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        async for samples in microphone(track):
            assert self.face is not None
            if is_audible(samples):
                self._touch()
            if self._microphones:
                _put(self._microphones, (samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
            if self.microphone == "listen":
                self.face.hear(samples)
            else:
                self.face.push(samples, is_live=True)

    def _take_channel(self, channel: RTCDataChannel) -> None:
        self._channels.add(channel)
        channel.on("message", self._take_message)
        channel.on("close", lambda: self._channels.discard(channel))

    def _take_message(self, message: str | bytes) -> None:
        """The client's words over a data channel: interrupt, end_of_turn."""
        if message == "interrupt":
            self.interrupt()
        elif message == "end_of_turn":
            self.end_of_turn()

    async def _take_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self.connected = True
            self._touch()
        elif state in ("failed", "closed"):
            # Not awaited here: closing waits for the connection, which waits for this handler.
            self._ending = asyncio.ensure_future(self.close())

    async def _tell_figures(self) -> None:
        """Once a second: frames drawn and dropped, the delay, and the speech that waits."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(FIGURES_SECONDS)
            assert self.face is not None
            now = time.monotonic()
            drawn, dropped, self._drawn, self._dropped = self._drawn, self._dropped, 0, 0
            fps, last = drawn / (now - last), now
            self._metrics.frame_rate.set(fps)
            waiting = round(self.face.waiting_seconds, 3)
            figures = {"fps": round(fps, 1), "dropped": dropped, "delay": round(self.face.delay, 3), "waiting": waiting}
            self.tell({"event": "figures", **figures})


def _put(queues: set[Messages], message: str | bytes) -> None:
    for queue in queues:
        if not queue.full():
            queue.put_nowait(message)
