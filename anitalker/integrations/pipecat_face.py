"""A live face in a Pipecat pipeline, between the text-to-speech service and the output: `pip install pipecat-ai`.

    face = LiveFace(talker, talker.portrait("face.jpg", size=512))
    pipeline = Pipeline([transport.input(), stt, llm, tts, PipecatFace(face), transport.output()])

The output needs video: video_out_enabled, video_out_is_live, and the width, height (`face.shape`) and rate of the face.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import numpy as np
import soxr
from pipecat.frames.frames import (  # pyright: ignore[reportMissingImports] (the user installs it)
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import (  # pyright: ignore[reportMissingImports]
    FrameDirection,
    FrameProcessor,
)

from anitalker.config import SAMPLE_RATE
from anitalker.streaming.live_face import LiveFace, LiveFrame

POLL_SECONDS = 0.05  # between two looks whether all has been heard, at the end


class PipecatFace(FrameProcessor):
    """Takes the voice, and gives pictures 25 times a second with the voice in step; nods while the user talks.

    TTSStoppedFrame goes on when the voice was heard; an InterruptionFrame closes the lips. The face lives from
    StartFrame to EndFrame or CancelFrame; its `on_frame` is taken.
    """

    def __init__(self, face: LiveFace, **options) -> None:
        super().__init__(**options)
        self.face = face
        self._frames: asyncio.Queue[LiveFrame] = asyncio.Queue()
        self._begin: int | None = None  # position at which the present turn begins
        self._ends: deque[tuple[int, TTSStoppedFrame]] = deque()  # positions at which turns end
        self._resampler: soxr.ResampleStream | None = None
        self._task: asyncio.Task | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take what concerns the face, and pass on the rest."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self._say(frame)
            return
        if isinstance(frame, TTSStoppedFrame):
            self._resampler = None
            self._ends.append((max(self.face.line.end, self.face.position), frame))
            return
        if isinstance(frame, InputAudioRawFrame):
            self.face.hear(_mono(frame))
        elif isinstance(frame, InterruptionFrame):
            self._resampler, self._begin = None, None
            self._ends.clear()
            self.face.interrupt()
        elif isinstance(frame, EndFrame):
            while self._ends or self.face.waiting_seconds > 0:
                await asyncio.sleep(POLL_SECONDS)
            await self._stop()
        elif isinstance(frame, CancelFrame):
            await self._stop()
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._loop = asyncio.get_running_loop()
            self.face.on_frame = self._take
            self.face.start()
            self._task = self.create_task(self._show())

    async def cleanup(self) -> None:
        """End the face, if the pipeline did not."""
        await self._stop()
        await super().cleanup()

    def _say(self, frame: TTSAudioRawFrame) -> None:
        samples = _mono(frame)
        if frame.sample_rate != SAMPLE_RATE:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(frame.sample_rate, SAMPLE_RATE, 1, dtype="float32")
            samples = self._resampler.resample_chunk(samples)
        begin = self.face.push(samples)
        self._begin = begin if self._begin is None else self._begin

    async def _show(self) -> None:
        height, width = self.face.shape
        while True:
            frame = await self._frames.get()
            data = np.ascontiguousarray(frame.picture).tobytes()
            await self.push_frame(OutputImageRawFrame(image=data, size=(width, height), format="RGB"))
            sound = (self.face.sound(frame).clip(-1, 1) * 32767).astype(np.int16)
            behind = (frame.index + 1) * len(sound)
            if self._begin is not None and self._begin < behind:
                await self.push_frame(TTSAudioRawFrame(sound.tobytes(), SAMPLE_RATE, 1))
            while self._ends and self._ends[0][0] <= behind:
                _, stopped = self._ends.popleft()
                self._begin = None if self.face.line.end <= behind else self._begin
                await self.push_frame(stopped)

    def _take(self, frame: LiveFrame) -> None:
        """On the face's thread."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._frames.put_nowait, frame)

    async def _stop(self) -> None:
        await asyncio.to_thread(self.face.close)
        if self._task is not None:
            task, self._task = self._task, None
            await self.cancel_task(task)


def _mono(frame: TTSAudioRawFrame | InputAudioRawFrame) -> np.ndarray:
    """Sound of a frame, float32 [N], at its own rate."""
    samples = np.frombuffer(frame.audio, np.int16).reshape(-1, frame.num_channels)
    return samples.mean(1).astype(np.float32) / 32768
