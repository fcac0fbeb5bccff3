"""A live face as the `VideoGenerator` of LiveKit's AvatarRunner: `pip install livekit-agents`.

face = LiveFace(talker, talker.portrait("face.jpg", size=512))
generator = LiveKitFace(face)
runner = AvatarRunner(room, audio_recv=QueueAudioOutput(), video_gen=generator, options=generator.options())
await runner.start()
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

import numpy as np
from livekit import rtc  # pyright: ignore[reportMissingImports] (the user installs it)
from livekit.agents.voice.avatar import (  # pyright: ignore[reportMissingImports]
    AudioSegmentEnd,
    AvatarOptions,
    VideoGenerator,
)

from anitalker.config import FPS, SAMPLE_RATE
from anitalker.streaming.live_face import LiveFace, LiveFrame


class LiveKitFace(VideoGenerator):
    """Speaks the audio that it is pushed, and yields pictures with their sound by the clock, silence included.

    The face lives from the first iteration to `aclose`; its `on_frame` is taken.
    """

    def __init__(self, face: LiveFace) -> None:
        self.face = face
        self._frames: asyncio.Queue[LiveFrame | None] = asyncio.Queue()
        self._segments: deque[list[int]] = deque()  # positions of begin and end; an open one has no end yet
        self._resampler: rtc.AudioResampler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def options(self) -> AvatarOptions:
        """The options of an AvatarRunner for this face."""
        height, width = self.face.shape
        return AvatarOptions(width, height, FPS, SAMPLE_RATE, audio_channels=1)

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Speak a piece of sound of any rate and number of channels; AudioSegmentEnd ends a turn."""
        if isinstance(frame, AudioSegmentEnd):
            if self._resampler is not None:
                self._say(self._resampler.flush())
                self._resampler = None
            if self._segments and len(self._segments[-1]) == 1:
                self._segments[-1].append(self.face.line.end)
            return
        samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels).mean(1).astype(np.int16)
        mono = rtc.AudioFrame(samples.tobytes(), frame.sample_rate, 1, len(samples))
        if frame.sample_rate == SAMPLE_RATE:
            self._say([mono])
            return
        if self._resampler is None:  # a segment has one rate
            self._resampler = rtc.AudioResampler(frame.sample_rate, SAMPLE_RATE)
        self._say(self._resampler.push(mono))

    def clear_buffer(self) -> None:
        """Interrupt: what waits is dropped, the lips close."""
        self._resampler = None
        self._segments.clear()
        self.face.interrupt()

    def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        return self._stream()

    async def aclose(self) -> None:
        """End the face, and the iteration."""
        await asyncio.to_thread(self.face.close)
        self._frames.put_nowait(None)

    def _say(self, frames: list[rtc.AudioFrame]) -> None:
        for frame in frames:
            begin = self.face.push(np.frombuffer(frame.data, np.int16).astype(np.float32) / 32768)
            if not self._segments or len(self._segments[-1]) == 2:
                self._segments.append([begin])

    async def _stream(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        self._loop = asyncio.get_running_loop()
        self.face.on_frame = self._take
        self.face.start()
        while (frame := await self._frames.get()) is not None:
            height, width = self.face.shape
            data = np.ascontiguousarray(frame.picture).tobytes()
            yield rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, data)
            sound = (self.face.sound(frame).clip(-1, 1) * 32767).astype(np.int16)
            behind = (frame.index + 1) * len(sound)
            # Sound between turns is silence, which the runner would take for playback.
            if self._segments and self._segments[0][0] < behind:
                yield rtc.AudioFrame(sound.tobytes(), SAMPLE_RATE, 1, len(sound))
            while self._segments and self._segments[0][-1] <= behind and len(self._segments[0]) == 2:
                self._segments.popleft()
                yield AudioSegmentEnd()

    def _take(self, frame: LiveFrame) -> None:
        """On the face's thread."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._frames.put_nowait, frame)
