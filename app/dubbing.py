"""The work of a job that dubs a video, and the faces that such a video begins with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import SAMPLE_RATE, DubOptions, RenderOptions
from anitalker.dubbing.job import sound_of
from anitalker.dubbing.tracks import SEARCH_INTERVAL
from anitalker.media.clip import Clip, frames_of, open_clip
from anitalker.media.fit import playback
from anitalker.media.soundtrack import Soundtrack
from anitalker.media.video import read_audio
from anitalker.server import limits
from anitalker.server.job_queue import Job
from anitalker.server.limits import Limits

from . import controls
from .live_video import LiveVideo
from .models import Models
from .notices import collect_warnings
from .sessions import Result, Session
from .work import Source, told_facts

if TYPE_CHECKING:
    from anitalker.faces.detection import Face, FaceFinder

SEARCHED_FRAMES = 10 * SEARCH_INTERVAL  # at the beginning of a video, for faces to choose from


@dataclass(frozen=True)
class DubRequest:
    """A checked request for a dub. `source(folder, job)` returns the recording."""

    model: str | None
    video: Path
    source: Source
    options: RenderOptions
    dubbing: DubOptions
    name: str  # of the file, without suffix


def make_dub(job: Job, session: Session, models: Models, maximum: Limits, wanted: DubRequest) -> Result:
    """Dub a video; the result can be watched meanwhile and becomes one of the session's results."""
    with session.job_folder() as name:
        folder = Path(name)
        speech = wanted.source(folder, job)
        start = time.monotonic()
        job.report("start")
        talker, options, dubbing = models.get(wanted.model), wanted.options, wanted.dubbing
        with collect_warnings(job.warnings):
            clip = open_clip(wanted.video, dubbing.start, dubbing.stop, options.size)
            sound = _sound(clip, speech, dubbing, maximum)
            shape, fps = (clip.height, clip.width), float(clip.fps)
            with LiveVideo(folder / "live.mp4", shape, sound, options, fps, edited=True) as live:
                job.live = live
                output = folder / "whole.mp4"
                facts = talker.dub(
                    wanted.video, speech, output, options, dubbing, progress=job.report, on_frame=live.watch
                )
        told = told_facts(facts, "dub", job, models, start)
        settings = {**controls.dub_settings(options, dubbing), "follow": dubbing.follow}
        return session.add_result(output, "dub", settings, told, maximum.results, wanted.name, job.inputs)


def _sound(clip: Clip, speech: Path, dubbing: DubOptions, maximum: Limits) -> np.ndarray:
    """The sound of the dub, float32 [N] at 16 kHz. InputError for a recording that is too long."""
    track = Soundtrack.read(speech, videos=dubbing.follow != DubOptions.follow)
    seconds = track.length / SAMPLE_RATE
    limits.check_seconds(seconds, "recording", maximum)
    if not dubbing.original_sound and not track.mute:
        return track.samples[None]
    frames = len(playback(dubbing.fit, clip.frames, clip.fps, seconds))
    with sound_of(clip, frames, dubbing, track) as mixed:
        return np.zeros(0, np.float32) if mixed is None else read_audio(mixed)


def first_faces(clip: Clip, finder: FaceFinder) -> tuple[np.ndarray, list[Face]]:
    """The frame by which the people of a clip are numbered, uint8 [H,W,3], and its faces, the largest first.

    That is the first one with faces, of those that a dub searches; where there is none at the beginning, the first
    frame and an empty list.
    """
    frame = None
    for now in frames_of(clip, np.arange(0, min(clip.frames, SEARCHED_FRAMES), SEARCH_INTERVAL)):
        frame = now if frame is None else frame
        if faces := finder.find(now):
            return now, faces
    assert frame is not None  # a clip has a frame, or opening it tells what is wrong
    return frame, []
