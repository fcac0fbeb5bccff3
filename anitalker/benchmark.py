"""What this machine does with a loaded model: frames per second by size, the first frame, a whole job.

Everything is measured within a budget of seconds: a slow machine draws fewer frames, and leaves out what does not fit.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anitalker import __version__
from anitalker.config import FPS, ORIGINAL_SIZE, SAMPLE_RATE, InputError, RenderOptions
from anitalker.files import EXAMPLES
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import read_audio
from anitalker.models.base import ProgressCallback
from anitalker.pipeline import Talker
from anitalker.portrait import Portrait
from anitalker.runtime.device import peak_gpu_memory, peak_memory
from anitalker.runtime.machine import MachineFacts, describe_machine

PORTRAIT = "portrait.webp"
SIZES = (256, 720, 1080)  # shorter side in pixels
JOB_SECONDS = 4.0  # of speech
MIN_SECONDS, MAX_SECONDS = 5.0, 600.0
DRAWING_SHARE = 1 / 8  # of the budget, for each size
JOB_MARGIN = 1.5  # a job's time over that of drawing its frames: reading, motion, encoding, signing
MIN_JOB_SECONDS = 0.4  # of speech; shorter jobs say nothing
FIRST_FRAMES, MAX_GROWTH = 2, 16  # frames of the first round; a later round is at most so many times as long


class DrawingFacts(TypedDict):
    """Frames drawn without encoding, of a portrait whose shorter side has `size` pixels; None: no time was left.

    frames: that were timed; cores_used: processor time over time by the clock.
    """

    size: int
    frames: int
    frames_per_second: float | None
    cores_used: float | None


class JobFacts(TypedDict):
    """A whole job, from portrait and recording to the finished video: its length and size, seconds by stage, and the
    seconds of work per second of video."""

    speech_seconds: float
    width: int
    height: int
    timings: dict[str, float]
    real_time_factor: float


class BenchFacts(TypedDict):
    """What `anitalker bench --json` prints.

    number_format: of the decoder's convolutions; load_seconds: imports and weights; first_frame_seconds: after loading,
    from the files of portrait and recording to the first frame; job: None where no time was left; peak_rss_mb: largest
    resident memory of the process in MiB, None where the system does not tell; peak_gpu_mb: largest memory of tensors
    on an NVIDIA card in MiB, None elsewhere; seconds: of the whole measurement.
    """

    version: str
    model: str
    number_format: str
    machine: MachineFacts
    load_seconds: float
    first_frame_seconds: float
    drawing: list[DrawingFacts]
    job: JobFacts | None
    peak_rss_mb: float | None
    peak_gpu_mb: float | None
    seconds: float


def check_seconds(seconds: float) -> float:
    """Return a budget that is allowed; InputError otherwise."""
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InputError(f"seconds is {seconds:g}; allowed is {MIN_SECONDS:g} to {MAX_SECONDS:g}")
    return seconds


def measure(
    talker: Talker, seconds: float, load_seconds: float, progress: ProgressCallback | None = None
) -> BenchFacts:
    """Measure a loaded model in about `seconds`, of which loading took `load_seconds`.

    progress: is called before each step with its name, the number of steps that are done, and of all steps.
    """
    start = time.perf_counter() - load_seconds
    deadline, steps = start + seconds, len(SIZES) + 2
    tell = progress or (lambda *_: None)
    machine = describe_machine(talker.device)  # before any work: the load is that of other programs
    tell("first frame", 0, steps)
    portrait, motion, first_frame = time_first_frame(talker)
    drawing: list[DrawingFacts] = []
    clock = time.perf_counter()
    next(talker.draw(portrait, [motion[:1]]))
    size, frame_seconds = min(portrait.picture.shape[:2]), time.perf_counter() - clock  # of the last known speed
    for done, larger in enumerate(SIZES, 1):
        tell(f"{larger} pixels", done, steps)
        allowed = min(seconds * DRAWING_SHARE, deadline - time.perf_counter())
        if FIRST_FRAMES * frame_seconds * max(larger / size, 1) ** 2 > allowed:
            drawing.append({"size": larger, "frames": 0, "frames_per_second": None, "cores_used": None})
            continue
        drawing.append(time_drawing(talker, portrait, motion, larger, allowed))
        size, frame_seconds = larger, 1 / (drawing[-1]["frames_per_second"] or 1)
    tell("whole job", steps - 1, steps)
    job, rate = None, drawing[0]["frames_per_second"]
    room = (deadline - time.perf_counter()) * rate / FPS / JOB_MARGIN if rate else 0.0
    if room >= MIN_JOB_SECONDS:
        job = time_job(talker, min(JOB_SECONDS, room))
    tell("whole job", steps, steps)
    return {
        "version": __version__,
        "model": talker.name,
        "number_format": talker.model.number_format,
        "machine": machine,
        "load_seconds": round(load_seconds, 3),
        "first_frame_seconds": round(first_frame, 3),
        "drawing": drawing,
        "job": job,
        "peak_rss_mb": peak_memory(),
        "peak_gpu_mb": peak_gpu_memory(talker.device),
        "seconds": round(time.perf_counter() - start, 3),
    }


def time_first_frame(talker: Talker) -> tuple[Portrait, Tensor, float]:
    """Go from the files of portrait and recording to the first frame. Returns the portrait, motion [T,M] of JOB_SECONDS
    of speech, and the seconds it took."""
    start = time.perf_counter()
    portrait = talker.portrait(EXAMPLES / PORTRAIT)
    (motion,) = talker.motion(portrait, example_speech(JOB_SECONDS))
    next(talker.draw(portrait, [motion]))
    return portrait, motion, time.perf_counter() - start


def time_drawing(talker: Talker, portrait: Portrait, motion: Tensor, size: int, seconds: float) -> DrawingFacts:
    """Draw a portrait, enlarged to a shorter side of `size` pixels, under motion [T,M], repeated.

    It takes about `seconds`, in which the portrait is prepared, too.
    """
    start = time.perf_counter()
    large = talker.portrait(enlarge(portrait.picture, size), size=ORIGINAL_SIZE)
    frames, rate, cores = time_frames(
        lambda count: talker.draw(large, [motion[torch.arange(count) % len(motion)]]),
        seconds - (time.perf_counter() - start),
    )
    return {"size": size, "frames": frames, "frames_per_second": round(rate, 2), "cores_used": round(cores, 2)}


def time_frames(
    draw: Callable[[int], Iterable[object]], seconds: float, count: int = FIRST_FRAMES
) -> tuple[int, float, float]:
    """Time draw(count), which yields so many frames, in rounds for about `seconds`; the first round draws `count`.

    Rounds become longer until the rest of the time holds none twice as long. Returns the frames of the last round,
    frames per second in it, and the cores that it kept busy.
    """
    deadline = time.perf_counter() + seconds
    while True:
        clock, processor = time.perf_counter(), time.process_time()
        for _ in draw(count):
            pass
        end = time.perf_counter()
        took, worked = end - clock, time.process_time() - processor
        longer = min(int((deadline - end) * count / took), MAX_GROWTH * count)
        if longer < 2 * count:
            return count, count / took, worked / took
        count = longer


def enlarge(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize a picture, uint8 [H,W,3], to a shorter side of `size` pixels (Lanczos); both sides become even."""
    scale = size / min(picture.shape[:2])
    height, width = (2 * round(side * scale / 2) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def time_job(talker: Talker, seconds: float) -> JobFacts:
    """Render the example portrait with so many seconds of speech to a video, which is deleted."""
    with tempfile.TemporaryDirectory() as folder:
        speech = write_speech(example_speech(seconds), Path(folder) / "speech.wav")
        facts = talker.render(EXAMPLES / PORTRAIT, speech, Path(folder) / "job.mp4", RenderOptions())
    return {
        "speech_seconds": facts["seconds"],
        "width": facts["width"],
        "height": facts["height"],
        "timings": facts["timings"],
        "real_time_factor": round(facts["real_time_factor"], 3),
    }


def example_speech(seconds: float) -> np.ndarray:
    """The example's speech, repeated or cut to so many seconds: float32 [N] at 16 kHz."""
    return np.resize(read_audio(EXAMPLES / "speech.flac"), round(seconds * SAMPLE_RATE))


def write_speech(speech: np.ndarray, file: Path) -> Path:
    """Write speech, float32 [N] in -1..1, as a WAV file."""
    write_wav(file, speech.clip(-1, 1) * 32767, SAMPLE_RATE)
    return file
