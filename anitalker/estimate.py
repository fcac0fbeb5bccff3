"""How long a video will take here: by its first frames while it is made, by a few frames of its portrait before.

A frame costs a fixed time per face (flow, U-Net) and a time per pixel that is drawn; the encoder's share goes with the
pixels of the video. Frames that are drawn for an estimate are timed once per process and size.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np
import torch

from anitalker.config import FPS, RenderOptions
from anitalker.faces.crop import seen_part
from anitalker.models.base import Model, PreparedFace
from anitalker.portrait import Portrait
from anitalker.rendering import ordered_parallel_map
from anitalker.runtime.device import choose_batch_size

ANNOUNCED_SECONDS = 10.0  # estimates above are announced
HELD_FRAMES = 4  # timed before a job's first frame is passed on; no more than wait for the encoder later
ENCODING_SHARE = 0.1  # of a drawn pixel's time, for each pixel of the video: marks, conversion, H.264 (measured)
MOVED = 0.05  # added to the portrait's motion code for frames that are timed
ROUNDS = 3  # the quickest counts: other work at the same moment says nothing about the next minutes
log = logging.getLogger(__name__)
_speeds: WeakKeyDictionary[Model, dict[tuple[int, int], DrawingSpeed]] = WeakKeyDictionary()


@dataclass(frozen=True)
class DrawingSpeed:
    """Seconds by the clock: `face` for each face in each frame, `pixel` for each pixel drawn, `code` to read a frame of
    a driving video."""

    face: float
    pixel: float
    code: float

    def seconds(self, frames: int, faces: int, drawn: int, size: tuple[int, int], driven: bool = False) -> float:
        """Seconds for frames of `size` (height, width), in which `drawn` pixels of all faces are drawn.

        driven: motion is read from a video.
        """
        pixels = drawn + ENCODING_SHARE * size[0] * size[1]
        return frames * (faces * self.face + pixels * self.pixel + self.code * driven)


def estimate_seconds(
    model: Model, portrait: Portrait, seconds: float, options: RenderOptions = RenderOptions(), driven: bool = False
) -> float:
    """Estimate how many seconds a video of so many seconds takes, from a prepared portrait to the file.

    driven: motion is read from a video, as `reenact` does. The first call for a model and a size draws a few frames.
    """
    height, width = (model.size, model.size) if options.frame == "crop" else portrait.picture.shape[:2]
    drawn = height * width if options.frame == "crop" else sum(map(drawn_pixels, portrait.faces))
    batch = choose_batch_size(model.device, options.batch_size)
    workers = min(batch, torch.get_num_threads()) if model.device.type == "cpu" else 1
    speed = measure_speed(model, max(portrait.faces, key=drawn_pixels), workers)
    return speed.seconds(math.ceil(seconds * FPS), len(portrait.faces), drawn, (height, width), driven)


def announced(frames: Iterator[np.ndarray], total: int) -> Iterator[np.ndarray]:
    """Yield frames; before the first, log how long all will take if it is long and if anybody listens (level INFO).

    The frames themselves are timed: HELD_FRAMES of them after the first one, which makes what all share. A graphics
    card draws these at once, in a batch, so that nothing is said.
    """
    if log.isEnabledFor(logging.INFO) and total > HELD_FRAMES:
        held, start = deque(islice(frames, 1)), time.perf_counter()
        held.extend(islice(frames, HELD_FRAMES))
        seconds = total * (time.perf_counter() - start) / HELD_FRAMES
        if seconds > ANNOUNCED_SECONDS:
            log.info("about %.0f s", seconds)
        while held:
            yield held.popleft()
    yield from frames


def drawn_pixels(face: PreparedFace) -> int:
    """Pixels of a face's crop that lie in the picture."""
    rows, columns = seen_part(face.crop)
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def measure_speed(model: Model, face: PreparedFace, workers: int) -> DrawingSpeed:
    """Time a few frames of a face, as many side by side as `rendering` draws; once per process, model, number of
    workers and power of two of the face's pixels."""
    pixels = drawn_pixels(face)
    speeds, key = _speeds.setdefault(model, {}), (workers, pixels.bit_length())
    if key not in speeds:
        image = torch.tensor(face.crop.image)[None]
        moved = face.motion + MOVED  # what rests costs nothing
        small, full, code = (
            _time(work, workers)
            for work in (
                lambda: list(model.render_frames(face, moved)),
                lambda: list(model.render_patches(face, moved)),
                lambda: model.read_codes(image),
            )
        )
        pixel = max(full - small, 0.0) / max(pixels, 1)
        speeds[key] = DrawingSpeed(max(full - pixels * pixel, 0.0), pixel, code)
    return speeds[key]


def _time(work: Callable[[], object], workers: int) -> float:
    """Seconds by the clock for a call, with as many side by side as there are workers: the quickest of ROUNDS rounds,
    after a first call that makes what all share."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in ordered_parallel_map(lambda _: work(), range(workers), workers):
            pass
        rounds.append((time.perf_counter() - start) / workers)
    return min(rounds)
