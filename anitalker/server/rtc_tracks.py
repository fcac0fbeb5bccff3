"""A live face as the tracks of a WebRTC connection, and the client's microphone as samples."""

from __future__ import annotations

import asyncio
import fractions
import logging
from collections.abc import AsyncIterator

import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler, VideoFrame
from scipy.signal import resample_poly

from anitalker.config import FPS, SAMPLE_RATE
from anitalker.streaming.live_face import LiveFace, LiveFrame

OPUS_RATE = 48_000
UPSAMPLING = OPUS_RATE // SAMPLE_RATE
PACKET_SAMPLES = SAMPLE_RATE // 50  # 20 ms
FILTER_SAMPLES = 16  # on either side of a packet, which the interpolation filter sees
VIDEO_CLOCK = 90_000
MAX_WAITING_FRAMES = 2  # of pictures; the oldest is lost when the encoder is slow
JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"  # aiortc's name for it; a test fails when it changes
JITTER_PACKETS = 2  # of the microphone, that may come in the wrong order
log = logging.getLogger(__name__)


class FaceAudioTrack(MediaStreamTrack):
    """The voice of a live face: 20 ms at a time by the clock, whatever the drawing does."""

    kind = "audio"

    def __init__(self, face: LiveFace) -> None:
        super().__init__()
        self.face = face
        self._position: int | None = None  # of the next packet

    async def recv(self) -> AudioFrame:
        """Wait for the time of the next packet, and return it: 960 samples at 48 kHz, mono."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._position is None:
            self._position = max(0, self.face.heard_position)
        early = self._position - self.face.heard_position  # the samples are known long before they are heard
        if early > 0:
            await asyncio.sleep(early / SAMPLE_RATE)
        frame = AudioFrame.from_ndarray(self._packet(self._position), format="s16", layout="mono")
        frame.sample_rate, frame.pts = OPUS_RATE, self._position * UPSAMPLING
        frame.time_base = fractions.Fraction(1, OPUS_RATE)
        self._position += PACKET_SAMPLES
        return frame

    def _packet(self, position: int) -> np.ndarray:
        """Samples int16 [1,960]. Interpolated from the line with its neighbours: a resampler would add its delay."""
        context = self.face.line.read(position - FILTER_SAMPLES, PACKET_SAMPLES + 2 * FILTER_SAMPLES)
        if context.any():
            context = resample_poly(context, UPSAMPLING, 1)
        else:
            context = np.zeros(len(context) * UPSAMPLING, np.float32)
        inside = context[FILTER_SAMPLES * UPSAMPLING : -FILTER_SAMPLES * UPSAMPLING]
        return (inside.clip(-1, 1) * 32767).astype(np.int16)[None]


class FaceVideoTrack(MediaStreamTrack):
    """The pictures of a live face that were drawn, as they come."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._frames: asyncio.Queue[LiveFrame] = asyncio.Queue(MAX_WAITING_FRAMES)

    def put(self, frame: LiveFrame) -> None:
        """Take a frame, in the event loop."""
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)

    async def recv(self) -> VideoFrame:
        """Wait for the next picture."""
        if self.readyState != "live":
            raise MediaStreamError
        live = await self._frames.get()
        picture = live.picture
        height, width = picture.shape[:2]
        if height % 2 or width % 2:  # codecs halve colours
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = live.index * VIDEO_CLOCK // FPS, fractions.Fraction(1, VIDEO_CLOCK)
        return frame


async def microphone(track: MediaStreamTrack) -> AsyncIterator[np.ndarray]:
    """Yield what comes in over an audio track, float32 [N] at 16 kHz, until it ends."""
    resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        assert isinstance(frame, AudioFrame)
        for piece in resampler.resample(frame):
            yield piece.to_ndarray()[0].astype(np.float32) / 32768


async def discard(track: MediaStreamTrack) -> None:
    """Read a track that nobody wants, so that its packets do not pile up."""
    while True:
        try:
            await track.recv()
        except MediaStreamError:
            return


class PromptBuffer(JitterBuffer):
    """Hands packets of sound on in order as they come: each is a whole frame of Opus (RFC 7587, section 4.2).

    aiortc's own keeps a packet until it sees that the next one belongs to another frame. A packet that overtook another
    one waits for it, and so do the next ones, until one is lost.
    """

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        packet = None if self._origin is None else self._packets[self._origin % self._capacity]
        if packet is None:
            return None
        self.remove(1)
        return JitterFrame(packet._data, packet.timestamp)  # type: ignore[attr-defined]


def shorten_jitter_buffer(receiver: RTCRtpReceiver) -> bool:
    """Hand packets on as they come; call it before the connection opens. Returns whether it was done.

    aiortc waits for four packets (80 ms) first, and after a lost one for sixteen; it has no setting for that, and makes
    its receivers itself. Where a later version keeps its buffer elsewhere, microphones are heard 80 ms later, and the
    log says so.
    """
    if not isinstance(getattr(receiver, JITTER_BUFFER, None), JitterBuffer):
        log.warning("this version of aiortc has its jitter buffer elsewhere: microphones are heard 80 ms later")
        return False
    setattr(receiver, JITTER_BUFFER, PromptBuffer(JITTER_PACKETS))
    return True
