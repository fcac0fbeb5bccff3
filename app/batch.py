"""The work of a job with several recordings: the portrait speaks each, one after the other, in a video of its own."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anitalker.config import FPS, InputError
from anitalker.server.job_queue import Cancelled, Job
from anitalker.server.limits import Limits

from . import components
from .inputs import file_data, portrait_name, video_name
from .live_video import LiveVideo
from .models import Models
from .recordings import Recording
from .sessions import Batch, Result, Session
from .work import Source, VideoRequest, make_video, prepare


class Entry(Job):
    """A recording of a batch. Its progress, in frames of all recordings, and its live video are those of the batch."""

    def __init__(self, batch: Job, inputs: dict[str, Any], frames_before: int, all_frames: int) -> None:
        self._batch, self._before, self._all = batch, frames_before, all_frames
        super().__init__(lambda job: None, inputs)

    def report(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Report a stage of this recording; ends the work if the batch was cancelled."""
        drawn = done if stage == "frames" else 0
        self._batch.report("batch", min(self._before + drawn, self._all), self._all)

    @property
    def live(self) -> LiveVideo | None:
        """The video in the making, which the batch shows."""
        return self._batch.live

    @live.setter
    def live(self, video: LiveVideo | None) -> None:
        self._batch.live = video


def make_batch(
    job: Job,
    session: Session,
    models: Models,
    maximum: Limits,
    wanted: VideoRequest,
    recordings: Sequence[Recording],
    message_for: Callable[[BaseException], str],
) -> Batch:
    """Render a video of each recording, each of which becomes one of the session's results, then pack all into a ZIP.

    What is left out is told in the job's warnings, with the reason in the words of `message_for`: recordings with a
    refusal, and those whose video fails. InputError if no video succeeds. Videos that are finished stay when the job
    is cancelled.
    """
    start = time.monotonic()
    usable = [recording for recording in recordings if not recording.refusal]
    left_out = [(recording.name, message_for(recording.refusal)) for recording in recordings if recording.refusal]
    job.warnings += [components.left_out(*refused) for refused in left_out]
    names, results, before = video_names(job.inputs, usable), [], 0
    frames = [math.ceil(recording.seconds * FPS) for recording in usable]
    job.step = f"Recording 1 of {len(usable)}"
    portrait = prepare(job, models, wanted)
    for number, recording in enumerate(usable):
        job.step = f"Recording {number + 1} of {len(usable)}: {recording.name}"
        widget_value = {**file_data(recording.file), "orig_name": recording.name}
        inputs = {**job.inputs, "kind": "speak", "recordings": None, "recording": widget_value}
        entry = Entry(job, inputs, before, sum(frames))
        entry.report("start")
        request = replace(wanted, kind="speak", name=names[number], source=_given(recording.file))
        try:
            results.append(make_video(entry, session, models, maximum, request, portrait))
        except Cancelled:
            raise
        except Exception as error:  # the other videos shall succeed
            left_out.append((recording.name, message_for(error)))
            job.warnings.append(components.left_out(*left_out[-1]))
        job.warnings += [f"in {recording.name}: {warning}" for warning in entry.warnings]
        before += frames[number]
    if not results:
        raise InputError(f"no video could be made; {components.left_out(*left_out[0])}")
    facts = {
        "kind": "batch",
        "model": models.name,
        "videos": [video_facts(result) for result in results],
        "left_out": [{"recording": name, "reason": reason} for name, reason in left_out],
        "warnings": job.warnings,
        "work_seconds": time.monotonic() - start,
    }
    return session.set_batch(results, facts, portrait_name(job.inputs, "videos"))


def video_names(inputs: dict[str, Any], recordings: Sequence[Recording]) -> list[str]:
    """The names of the videos, without suffix, each different: portrait-hello, portrait-hello-2."""
    names: list[str] = []
    for recording in recordings:
        name = video_name("speak", {**inputs, "recording": {"orig_name": recording.name}})
        numbered = (f"{name}-{count}" if count > 1 else name for count in itertools.count(1))
        names.append(next(candidate for candidate in numbered if candidate not in names))
    return names


def video_facts(result: Result) -> dict:
    """What is told of each video: its recording, the name of its file, length, size and seed."""
    told_facts = {key: result.facts[key] for key in ("frames", "seconds", "width", "height", "seed")}
    return {"recording": result.inputs["recording"]["orig_name"], "file": result.file.name} | told_facts


def _given(file: Path) -> Source:
    return lambda folder, job: file
