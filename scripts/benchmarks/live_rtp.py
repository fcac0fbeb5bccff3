"""RTP in to RTP out: an aiortc client of `anitalker serve` that says syllables."""

from __future__ import annotations

import asyncio
import fractions
import json
import time
from pathlib import Path

import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from av import AudioFrame

from anitalker.server.rtc_tracks import JITTER_BUFFER, OPUS_RATE, shorten_jitter_buffer
from scripts.benchmarks.syllables import FIRST_SECONDS, PERIOD_SECONDS, Answers, mouth_place, syllables

PACKET = OPUS_RATE // 50
WARM_SECONDS = 3.0  # before the first syllable that counts


class Microphone(MediaStreamTrack):
    """Says syllables by the clock, and notes when their first packets left."""

    kind = "audio"

    def __init__(self, seconds: float, answers: Answers) -> None:
        super().__init__()
        self.sound, self.answers, self.at, self.begin = syllables(seconds, OPUS_RATE), answers, 0, 0.0

    async def recv(self) -> AudioFrame:
        """The next 20 ms."""
        self.begin = self.begin or time.monotonic()
        await asyncio.sleep(max(0.0, self.begin + (self.at + PACKET) / OPUS_RATE - time.monotonic()))
        samples = np.resize(self.sound[self.at : self.at + PACKET], PACKET)
        second = self.at / OPUS_RATE
        if abs((second - FIRST_SECONDS) % PERIOD_SECONDS) < 0.5 / 50 and second > WARM_SECONDS:
            self.answers.said.append(time.monotonic())  # its packet leaves
        frame = AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = OPUS_RATE, self.at, fractions.Fraction(1, OPUS_RATE)
        self.at += PACKET
        return frame


class PictureBuffer(JitterBuffer):
    """Hands a picture on with its last packet (RFC 7741, section 4.1: the marker); aiortc's own waits for the next."""

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        data = b""
        for count in range(self.capacity):
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None:
                return None
            data += packet._data
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(data, packet.timestamp)
        return None


async def measure(url: str, portrait: Path, seconds: float, size: int) -> Answers:
    """Open a session, say syllables for so many seconds, and note what comes back."""
    answers = Answers()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: dict[str, MediaStreamTrack] = {}
    connection.on("track", lambda track: tracks.setdefault(track.kind, track))
    connection.addTrack(Microphone(seconds + WARM_SECONDS + 2, answers))
    connection.addTransceiver("video", direction="recvonly")
    channel = connection.createDataChannel("messages")
    channel.on("message", lambda text: answers.figures.update(json.loads(text)))
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        with portrait.open("rb") as file:
            avatar = (await http.post("/v1/avatars", files={"portrait": (portrait.name, file)})).json()["id"]
        await connection.setLocalDescription(await connection.createOffer())
        offer = {"sdp": connection.localDescription.sdp, "avatar": avatar, "microphone": "speak", "size": size}
        answer = (await http.post("/v1/sessions", json=offer)).raise_for_status().json()
        for transceiver in connection.getTransceivers():
            if transceiver.kind == "audio":
                shorten_jitter_buffer(transceiver.receiver)
            else:
                setattr(transceiver.receiver, JITTER_BUFFER, PictureBuffer(512, is_video=True))
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        readers = [asyncio.ensure_future(reader(answers, tracks[kind])) for kind, reader in READERS.items()]
        await asyncio.sleep(seconds + WARM_SECONDS)
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await http.delete(f"/v1/sessions/{answer['id']}")
    await connection.close()
    return answers


async def _listen(answers: Answers, track: MediaStreamTrack) -> None:
    while True:
        samples = (await track.recv()).to_ndarray().astype(np.float32) / 32768
        answers.heard.append((time.monotonic(), float(np.sqrt(np.square(samples).mean()))))


async def _watch(answers: Answers, track: MediaStreamTrack) -> None:
    while True:
        picture = (await track.recv()).to_ndarray(format="rgb24")
        answers.seen.append((time.monotonic(), mouth_place(picture)))


READERS = {"audio": _listen, "video": _watch}
