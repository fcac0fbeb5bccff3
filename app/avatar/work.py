"""The work of a job that makes an avatar: a person file, and samples of it before and after. On the queue's thread."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE, RenderOptions
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import read_audio
from anitalker.person.person_file import read_person
from anitalker.person.selection import TAIL_SHARE
from anitalker.person.takes import MAX_SECONDS
from anitalker.person.tune_options import TuneOptions
from anitalker.person.tuning import portrait_key
from anitalker.server.job_queue import Cancelled, Job
from anitalker.server.limits import Limits
from anitalker.weights.registry import sha256

from ..models import Models
from ..notices import collect_warnings
from ..sessions import Person, Session
from .people import add_person

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

EXAMPLE = Path(__file__).parents[1] / "examples" / "speech.flac"  # what is said where the video has no speech
SAMPLE_SECONDS, SAMPLE_SIZE = 3, 360  # of a sample; pixels of its shorter side
TRAINING = "tuning"  # the stage from whose beginning on a cancelled job keeps what it has
INT16_MAX = 32767


@dataclass(frozen=True)
class TuneRequest:
    """A checked request for an avatar. sources: videos, or photos; name: of the file, without suffix."""

    sources: tuple[Path, ...]
    options: TuneOptions
    name: str


def make_person(job: Job, session: Session, models: Models, maximum: Limits, wanted: TuneRequest) -> Person:
    """Make a person file, which becomes one of the session's avatars.

    A job that is cancelled during the training keeps the best so far; the same videos go on from there.
    """
    with session.job_folder() as name:
        folder = Path(name)
        job.report("start")
        talker, output = models.get(models.names[0]), folder / "person.safetensors"
        earlier = unfinished_person(session, wanted)
        if earlier is not None:
            copyfile(earlier.file, output)
        with collect_warnings(job.warnings):
            facts = talker.tune(wanted.sources, output, wanted.options, cancellable(job))
        speech = spoken_sample(wanted.sources[0]) if facts["speech_seconds"] else example_sample()
        samples = draw_samples(talker, output, speech, folder, job)
        person = add_person(session, output, wanted.name, maximum.people, samples, earlier)
        if job.cancelled:
            raise Cancelled
        return person


def unfinished_person(session: Session, wanted: TuneRequest) -> Person | None:
    """The avatar that a cancelled job has made of the same videos with the same portrait, if there is one."""
    unfinished = [person for person in session.people if not person.finished]
    if not unfinished:
        return None
    facts = {"sources": [sha256(file) for file in wanted.sources], "portrait": portrait_key(wanted.options.portrait)}
    return next((person for person in unfinished if facts.items() <= person.facts.items()), None)


def cancellable(job: Job) -> Callable[[str, int, int], None]:
    """A progress callback under which cancelling a job in its training is what Ctrl+C is: the best so far is kept."""
    trained = False

    def report(stage: str, done: int, total: int) -> None:
        nonlocal trained
        trained = trained or stage == TRAINING
        try:
            job.report(stage, done, total)
        except Cancelled:
            if not trained:
                raise
            raise KeyboardInterrupt from None

    return report


def spoken_sample(video: Path) -> np.ndarray:
    """What the person says in the video's last part, which was not learned from: float32 [N] at 16 kHz."""
    samples = read_audio(video)[: round(MAX_SECONDS * SAMPLE_RATE)]
    tail, length = samples[round((1 - TAIL_SHARE) * len(samples)) :], round(SAMPLE_SECONDS * SAMPLE_RATE)
    starts = range(0, max(1, len(tail) - length), SAMPLE_RATE // 2)
    loudest = max(starts, key=lambda start: float(np.square(tail[start : start + length]).sum()))
    return tail[loudest : loudest + length]


def example_sample() -> np.ndarray:
    """The example recording's first seconds, float32 [N] at 16 kHz."""
    return read_audio(EXAMPLE)[: round(SAMPLE_SECONDS * SAMPLE_RATE)]


def draw_samples(talker: Talker, file: Path, speech: np.ndarray, folder: Path, job: Job) -> tuple[Path, Path]:
    """Let the portrait alone, and the person, say the same: two small videos. Cancelling comes too late here."""
    person, sound = read_person(file), folder / "sample.wav"
    write_wav(sound, (speech.clip(-1, 1) * INT16_MAX).astype(np.int16), SAMPLE_RATE)
    options = RenderOptions(size=SAMPLE_SIZE)
    alone = replace(talker.portrait(person.portrait, size=SAMPLE_SIZE), consent=person.consent)
    portraits = {"before": alone, "after": talker.portrait(file, size=SAMPLE_SIZE)}
    frames = math.ceil(len(speech) * FPS / SAMPLE_RATE)
    drawn, total = itertools.count(1), len(portraits) * frames

    def tell(_: np.ndarray) -> None:
        with contextlib.suppress(Cancelled):
            job.report("samples", next(drawn), total)

    for name, portrait in portraits.items():
        talker.render(portrait, sound, folder / f"{name}.mp4", options, on_frame=tell)
    return folder / "before.mp4", folder / "after.mp4"
