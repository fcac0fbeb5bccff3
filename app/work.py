"""The work of the page's jobs: a video that is watched meanwhile, or a report. It runs on the queue's thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE, InputError, RenderOptions
from anitalker.estimate import drawn_pixels
from anitalker.media.video import mix_audio, probe, read_audio
from anitalker.motion.idle import check_length
from anitalker.server import limits
from anitalker.server.job_queue import Job
from anitalker.server.limits import Limits

from . import controls
from .live_video import LiveVideo, draw_ahead, frames_ahead
from .models import Models
from .notices import collect_warnings
from .sessions import Report, Result, Session

if TYPE_CHECKING:
    from torch import Tensor

    from anitalker.models.lite import Lite, LiteFace
    from anitalker.pipeline import Portrait, Talker
    from anitalker.rendering import RenderFacts

BATCH_SIZE = 2  # frames; a cancelled job ends after a batch, and a larger one is hardly faster on a CPU
FACTS = ("frames", "fps", "seconds", "width", "height", "timings", "seed")
REPORT_FACTS = ("kind", "sections", "pictures", "seconds", "groups")
Source = Callable[[Path, Job], Path]


@dataclass(frozen=True)
class VideoRequest:
    """A checked request for a video. `source(folder, job)` returns the recording or the driving video."""

    kind: str  # speak, say, drive or idle
    model: str | None
    portrait: Path
    source: Source
    options: RenderOptions
    absolute: bool  # drive: the video's own poses
    name: str  # of the file, without suffix
    seconds: float = 0.0  # idle: length of the video
    others: Mapping[int, Path] = field(default_factory=dict)  # speak: recordings of further faces, by index
    format: str = "mp4"  # suffix of the file
    loop: bool = False  # idle: the end leads over to the beginning


def prepare(job: Job, models: Models, wanted: VideoRequest) -> Portrait:
    """Load the model and prepare the portrait that a request names."""
    job.report("start")
    talker = models.get(wanted.model)
    talker.model.check(wanted.options)
    with collect_warnings(job.warnings):
        return talker.prepare(wanted.portrait, wanted.options, wanted.others)


def make_video(
    job: Job,
    session: Session,
    models: Models,
    maximum: Limits,
    wanted: VideoRequest,
    portrait: Portrait | None = None,
) -> Result:
    """Render a video, which can be watched meanwhile and becomes one of the session's results.

    portrait: of `prepare`, for further videos of the same request.
    """
    with session.job_folder() as name:
        folder = Path(name)
        source = wanted.source(folder, job)
        start = time.monotonic()
        portrait = portrait or prepare(job, models, wanted)
        talker, options = models.get(wanted.model), replace(wanted.options, batch_size=BATCH_SIZE)
        output = folder / f"whole.{wanted.format}"
        job.report("motion")
        speech = _sound(source, wanted, folder, maximum)
        side = talker.model.size
        shape = (portrait.picture.shape[0], portrait.picture.shape[1]) if options.frame == "full" else (side, side)
        with collect_warnings(job.warnings), LiveVideo(folder / "live.mp4", shape, speech, options) as live:
            job.live = live
            if wanted.kind == "idle":
                motions = _idle_motion(talker, portrait, wanted, options)
                facts = talker.animate(portrait, motions, output, options, job.report, live.watch)
            elif wanted.kind == "drive":
                relative = not wanted.absolute
                facts = talker.reenact(
                    portrait, source, output, options, progress=job.report, relative=relative, on_frame=live.watch
                )
            else:
                if not wanted.others:
                    _begin_live(job, live, talker, portrait, speech, options)
                facts = talker.render(portrait, source, output, options, job.report, wanted.others, live.watch)
        facts = told_facts(facts, wanted.kind, job, models, start)
        settings = controls.settings_of(options)
        return session.add_result(output, wanted.kind, settings, facts, maximum.results, wanted.name, job.inputs)


def told_facts(facts: RenderFacts, kind: str, job: Job, models: Models, start: float) -> dict[str, Any]:
    """What people and programs are told of a video that was begun at `start` (monotonic, in seconds)."""
    told = {key: value for key, value in facts.items() if key in FACTS} | {"warnings": job.warnings, "kind": kind}
    return told | {"model": models.name, "work_seconds": time.monotonic() - start}


def make_report(job: Job, session: Session, models: Models, model: str | None, source: Path) -> Report:
    """Write a report about a picture or clip, as `anitalker inspect` does it. A cancelled job ends after a section."""
    from anitalker.inspection.attribution import import_extra

    for package in ("captum", "matplotlib", "sklearn"):
        import_extra(package)
    from anitalker.inspection.tour import inspect

    with session.job_folder() as name:
        job.report("start")
        talker = models.get(model)
        job.report("sections", 0, 1)
        folder = Path(name) / "report"
        facts = inspect(talker, source, folder, progress=job.report)
        return session.set_report(folder, {key: facts[key] for key in REPORT_FACTS} | {"model": models.name})


def _sound(source: Path, wanted: VideoRequest, folder: Path, maximum: Limits) -> np.ndarray:
    """The sound of the video, float32 [N] at 16 kHz; empty without any. InputError for a recording that is too long."""
    if wanted.kind == "idle" or (wanted.kind == "drive" and probe(source).audio_codec is None):
        return np.zeros(0, np.float32)
    if wanted.others:
        recordings, source = [source, *wanted.others.values()], folder / "mix.flac"
        mix_audio(recordings, source)
    samples = read_audio(source)
    limits.check_seconds(len(samples) / SAMPLE_RATE, "recording", maximum)
    return samples


def _idle_motion(talker: Talker, portrait: Portrait, wanted: VideoRequest, options: RenderOptions) -> list[Tensor]:
    """Motion [T,M] of each face that idles. Raises InputError for a model without a motion prior."""
    if talker.model.prior is None:
        raise InputError(f"model {talker.name} has no motion prior to draw from; take lite")
    model, frames = cast("Lite", talker.model), check_length(wanted.seconds)  # the only family with a prior
    faces = cast("list[LiteFace]", portrait.faces)
    return [model.idle(face, frames, options, 1.0, options.seed + n, wanted.loop) for n, face in enumerate(faces)]


def _begin_live(
    job: Job, live: LiveVideo, talker: Talker, portrait: Portrait, speech: np.ndarray, options: RenderOptions
) -> None:
    """Draw those frames small that shall be watched before the file has them."""
    frames = math.ceil(len(speech) * FPS / SAMPLE_RATE)
    drawn = sum(map(drawn_pixels, portrait.faces))
    count = frames_ahead(talker, drawn, frames, options) if live.token else 0
    if not count:
        return
    small = portrait if options.frame == "crop" else talker.resized(portrait, min(live.height, live.width))
    for done, frame in enumerate(draw_ahead(talker, small, speech, options, count), 1):
        live.write(frame)
        job.report("ahead", done, count)
