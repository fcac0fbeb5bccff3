"""The video while it is made: a small fragmented MP4 that grows in a file, and the frames that fill it.

Letters: H x W pixels of a frame, N samples of sound at 16 kHz, T video frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from anitalker.config import FPS, SAMPLE_RATE, RenderOptions
from anitalker.media.aspect import Extension
from anitalker.media.backdrop import checkered
from anitalker.provenance import marks
from anitalker.streaming.fragmented_mp4 import FragmentWriter

if TYPE_CHECKING:
    from anitalker.models.base import PreparedFace, StreamingModel
    from anitalker.pipeline import Portrait, Talker

SHORT_SIDE, LONG_SIDE = 320, 640  # pixels of the small video, at most
AUDIO_SAMPLES = SAMPLE_RATE // FPS  # of one frame
SPEECH_STEP = FPS  # frames of speech that the motion generator is given at a time
AHEAD_FRAMES = 2 * FPS  # of a long recording: they are watched while the motion of the rest is generated
LONG_RECORDING = 10 * FPS  # frames
LARGE_FRAME = 700_000  # pixels drawn: takes over four times as long as a small one, so all are drawn small first
READ_BYTES, READ_SECONDS = 2**16, 0.1  # of the growing file at a time; between two looks at its end
FRAGMENT_SECONDS = 0.2
log = logging.getLogger("app")  # not the library's, whose warnings are told to the visitor


class LiveVideo:
    """A small video that is watched while it is written, with the label and the watermark of the options.

    path: of the fragmented MP4; picture_size: (height, width) of the frames that will come, at their full size;
    speech: float32 [N], silence follows it; fps: of the frames that will come; edited: whether they were filmed.
    Frames may come twice: small ones ahead of time by `write`, and those of the file by `watch`, which drops the
    ones that are there already. Without POSIX there is no fragmented MP4: nothing is written, and `token` is empty.
    """

    def __init__(
        self,
        path: Path,
        picture_size: tuple[int, int],
        speech: np.ndarray,
        options: RenderOptions = RenderOptions(),
        fps: float = FPS,
        edited: bool = False,
    ) -> None:
        self.path, self.ended = path, threading.Event()
        self.token = secrets.token_hex(16) if os.name == "posix" else ""  # its name on the page
        self.written = 0  # frames, of 25 per second
        self.fps = fps
        self.height, self.width = small_size(picture_size)
        self._extension = Extension(self.width, self.height, options.aspect) if options.aspect else None
        extended = self._extension or self
        self._speech, self._watched = speech, 0
        self._filters = marks.frame_filters(
            extended.width,
            extended.height,
            options.label,
            options.marks,
            language=options.label_language,
            style=options.label_style,
            labelled_frames=math.inf if options.label_seconds is None else options.label_seconds * FPS,
            edited=edited,
        )
        self._shown_size = extended.width, extended.height
        self._writer = contextlib.ExitStack()
        self._fragments: FragmentWriter | None = None

    def __enter__(self) -> LiveVideo:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 [H,W,3 or 4] of any size, without marks; before a checkerboard, if it has alpha."""
        if not self.token:
            return
        if frame.shape[:2] != (self.height, self.width):
            frame = np.asarray(Image.fromarray(frame).resize((self.width, self.height), Image.Resampling.BOX))
        frame = checkered(frame)
        if self._extension:
            frame = self._extension(frame)
        for apply_filter in self._filters:
            frame = apply_filter(frame)
        sound = self._speech[self.written * AUDIO_SAMPLES :][:AUDIO_SAMPLES]
        try:
            if self._fragments is None:
                output = self._writer.enter_context(self.path.open("wb"))
                self._fragments = FragmentWriter(output, *self._shown_size, "ultrafast", FRAGMENT_SECONDS)
                self._writer.enter_context(self._fragments)
            self._fragments.write(frame, np.pad(sound, (0, AUDIO_SAMPLES - len(sound))))
        except (OSError, RuntimeError) as error:  # a full disk, say: the video itself may still succeed, or tell it
            log.warning("the live video stopped: %s", error)
            self.token = ""
        self.written += 1

    def watch(self, frame: np.ndarray) -> None:
        """Append the next frame of the file, uint8 [H,W,3] without marks, unless it is written already.

        At another rate than 25 per second a frame is left out, or written more than once.
        """
        self._watched += 1
        while self.token and self.written < int(self._watched * FPS / self.fps + 1e-6):
            self.write(frame)

    def __exit__(self, *error: Any) -> None:
        try:
            self._writer.__exit__(*error)
        except (OSError, RuntimeError) as failure:
            log.warning("the live video did not end well: %s", failure)
        finally:
            self.ended.set()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what is written so far, then what is added until the end. FileNotFoundError if nothing is there."""
        with self.path.open("rb") as file:
            while True:
                ended = self.ended.is_set()  # before the read: what was written until then is read
                if chunk := file.read(READ_BYTES):
                    yield chunk
                elif ended:
                    return
                else:
                    await asyncio.sleep(READ_SECONDS)


def small_size(picture_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the small video, even, of the shape of (height, width) pixels and never larger."""
    height, width = picture_size
    scale = min(1, SHORT_SIDE / min(height, width), LONG_SIDE / max(height, width))
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def frames_ahead(talker: Talker, drawn: float, frames: int, options: RenderOptions) -> int:
    """How many of the frames are drawn small before the file's are begun. drawn: pixels of each that are drawn.

    On a processor: all, if the file's frames are so large that they come slower than they are watched and the small
    ones cost little beside them; else the first, if the recording is so long that its motion lets a visitor wait.
    """
    if talker.device.type != "cpu" or talker.model.streaming is None:
        return 0
    if options.frame == "full" and drawn > LARGE_FRAME:
        return frames
    return AHEAD_FRAMES if frames > LONG_RECORDING else 0


def draw_ahead(
    talker: Talker, portrait: Portrait, speech: np.ndarray, options: RenderOptions, count: int
) -> Iterator[np.ndarray]:
    """Draw the first `count` frames of a portrait that speaks, uint8 [H,W,3], as soon as their motion is there.

    speech: float32 [N]. The frames are those of `Talker.render`, which generates the motion of all frames first.
    """
    model = talker.model.streaming
    assert model is not None, "this model generates whole clips only"
    features = talker.model.speech_features(torch.tensor(speech))
    windows = [
        motion_windows(model, features, face, options, options.seed + n) for n, face in enumerate(portrait.faces)
    ]
    drawn = 0
    for motions in zip(*windows, strict=True):
        motions = [motion[: count - drawn] for motion in motions]
        yield from talker.draw(portrait, motions, options)
        drawn += len(motions[0])
        if drawn == count:
            return


def motion_windows(
    model: StreamingModel, features: torch.Tensor, face: PreparedFace, options: RenderOptions, seed: int
) -> Iterator[torch.Tensor]:
    """Speech features [1,T,S], a face -> its motion, window by window: [t,M] each, T frames in all."""
    from anitalker.motion.windows import MotionStream

    rng = torch.Generator().manual_seed(seed)
    start = face.motion
    stream = MotionStream(model.generator_of(face), start, rng, model.sampling_params(options, face))
    steps = features.split(SPEECH_STEP, dim=1)
    for number, step in enumerate(steps, 1):
        motion = stream.push(step, last=number == len(steps))[0]
        if len(motion):
            yield model.scale_motion(motion, start, options, face)
