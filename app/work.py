"""The work of the page's jobs: a video with a preview, or a report. It runs on the queue's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anitalker.config import SAMPLE_RATE, RenderOptions
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import read_audio

from . import controls, limits
from .jobs import Job
from .limits import Limits
from .models import Models
from .notices import collect_warnings
from .sessions import Report, Result, Session

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

PREVIEW_SECONDS = 1.0  # of speech
BATCH_SIZE = 2  # frames; a cancelled job ends after a batch, and a larger one is hardly faster on a CPU
FACTS = ("frames", "fps", "seconds", "width", "height", "timings", "seed")
REPORT_FACTS = ("kind", "sections", "pictures", "seconds", "groups")
Source = Callable[[Path, Job], Path]


@dataclass(frozen=True)
class VideoRequest:
    """A checked request for a video. `source(folder, job)` returns the recording or the driving video."""

    kind: str  # speak, say or drive
    model: str | None
    portrait: Path
    source: Source
    options: RenderOptions
    absolute: bool  # drive: the video's own poses


def make_video(job: Job, session: Session, models: Models, maximum: Limits, wanted: VideoRequest) -> Result:
    """Render a video: a preview first, then the whole, which becomes one of the session's results."""
    with session.job_folder() as name:
        folder = Path(name)
        source = wanted.source(folder, job)
        start = time.monotonic()
        job.report("start")
        talker = models.get(wanted.model)
        talker.model.check(wanted.options)
        options = replace(wanted.options, batch_size=BATCH_SIZE)
        with collect_warnings(job.warnings):
            portrait = talker.prepare(wanted.portrait, options)
        output = folder / "whole.mp4"
        job.report("motion")
        if wanted.kind != "drive":
            _make_preview(job, talker, portrait, source, options, folder, maximum)
        with collect_warnings(job.warnings):
            if wanted.kind == "drive":
                relative = not wanted.absolute
                facts = talker.reenact(portrait, source, output, options, progress=job.report, relative=relative)
            else:
                facts = talker.render(portrait, source, output, options, progress=job.report)
        facts = {key: facts[key] for key in FACTS} | {"warnings": job.warnings}
        facts |= {"model": models.name, "kind": wanted.kind, "work_seconds": time.monotonic() - start}
        return session.add_result(output, wanted.kind, controls.settings_of(options), facts, maximum.results)


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


def _make_preview(
    job: Job, talker: Talker, portrait: Any, speech: Path, options: RenderOptions, folder: Path, maximum: Limits
) -> None:
    """Render the first second of a recording and show it. A short recording gets none: the whole is as quick."""
    samples = read_audio(speech)
    limits.check_seconds(len(samples) / SAMPLE_RATE, "recording", maximum)
    if len(samples) <= 2 * PREVIEW_SECONDS * SAMPLE_RATE:
        return
    opening, output = folder / "first.wav", folder / "preview.mp4"
    write_wav(opening, (samples[: int(PREVIEW_SECONDS * SAMPLE_RATE)] * 32767).astype("<i2"), SAMPLE_RATE)

    def progress(_stage: str, done: int, total: int) -> None:
        job.report("preview", done, total)

    talker.render(portrait, opening, output, options, progress=progress)
    job.preview = output
