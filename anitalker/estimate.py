"""How long a video will take here: a few frames of its portrait are drawn and timed, once per process and size.

A frame costs a fixed time per face (flow, U-Net) and a time per pixel that is drawn; the encoder's share goes with the
pixels of the video.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from anitalker.config import FPS, RenderOptions
from anitalker.faces.crop import seen_part
from anitalker.models.base import Model, PreparedFace
from anitalker.portrait import Portrait
from anitalker.runtime.device import choose_batch_size

ANNOUNCED_SECONDS = 10.0  # estimates above are announced
SHORT_JOB_PIXELS = 2**23  # drawn in all frames: a job of fewer is done before an estimate would help
ENCODING_SHARE = 0.1  # of a drawn pixel's time, for each pixel of the video: marks, conversion, H.264 (measured)
log = logging.getLogger(__name__)
_speeds: WeakKeyDictionary[Model, dict[int, DrawingSpeed]] = WeakKeyDictionary()


@dataclass(frozen=True)
class DrawingSpeed:
    """Seconds on one thread: `face` for each face in each frame, `pixel` for each pixel drawn, `code` to read a frame
    of a driving video."""

    face: float
    pixel: float
    code: float

    def seconds(self, frames: int, faces: int, drawn: int, size: tuple[int, int], driven: bool = False) -> float:
        """Seconds on one thread for frames of `size` (height, width), in which `drawn` pixels of all faces are drawn.

        driven: motion is read from a video.
        """
        pixels = drawn + ENCODING_SHARE * size[0] * size[1]
        return frames * (faces * self.face + pixels * self.pixel + self.code * driven)


def estimate_seconds(
    model: Model, portrait: Portrait, seconds: float, options: RenderOptions = RenderOptions(), driven: bool = False
) -> float:
    """Estimate how many seconds of work a video of so many seconds takes, from a prepared portrait to the file.

    driven: motion is read from a video, as `reenact` does. The first call for a model and a size draws four frames.
    """
    size = (
        (model.size, model.size) if options.frame == "crop" else (portrait.picture.shape[0], portrait.picture.shape[1])
    )
    drawn = model.size**2 if options.frame == "crop" else sum(map(drawn_pixels, portrait.faces))
    speed = measure_speed(model, max(portrait.faces, key=drawn_pixels))
    work = speed.seconds(math.ceil(seconds * FPS), len(portrait.faces), drawn, size, driven)
    workers = choose_batch_size(model.device, options.batch_size) if model.device.type == "cpu" else 1
    return work / max(1, min(workers, torch.get_num_threads()))


def announce(model: Model, portrait: Portrait, seconds: float, options: RenderOptions, driven: bool = False) -> None:
    """Log how long a video will take, if it is long and if anybody listens to this logger (level INFO)."""
    pixels = seconds * FPS * sum(map(drawn_pixels, portrait.faces))
    if not log.isEnabledFor(logging.INFO) or (options.frame == "full" and pixels < SHORT_JOB_PIXELS):
        return
    if (estimate := estimate_seconds(model, portrait, seconds, options, driven)) > ANNOUNCED_SECONDS:
        log.info("about %.0f s", estimate)


def drawn_pixels(face: PreparedFace) -> int:
    """Pixels of a face's crop that lie in the picture."""
    rows, columns = seen_part(face.crop)
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def measure_speed(model: Model, face: PreparedFace) -> DrawingSpeed:
    """Time a few frames of a face on one thread, the faster of two each; once per process, model and power of two of
    its pixels."""
    pixels = drawn_pixels(face)
    speeds = _speeds.setdefault(model, {})
    if (key := pixels.bit_length()) not in speeds:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in `rendering`, where each thread draws a frame of its own
        try:
            small, full = (
                _time(lambda full=full: list(model.render_frames(face, face.motion, full))) for full in (False, True)
            )
            image = torch.tensor(face.crop.image)[None]
            code = _time(lambda: model.read_codes(image))
        finally:
            torch.set_num_threads(threads)
        pixel = max(full - small, 0.0) / max(pixels, 1)
        speeds[key] = DrawingSpeed(max(full - pixels * pixel, 0.0), pixel, code)
    return speeds[key]


def _time(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
