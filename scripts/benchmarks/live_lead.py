"""How far lips are ahead of the voice by themselves: a live face on a clock of its own, where nothing takes time.

Lips open before they are heard, also in life. What a client sees beyond that is the skew of the connection.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np

from anitalker import pipeline
from anitalker.config import FPS, SAMPLE_RATE, RenderOptions
from anitalker.streaming.live_face import LiveFace
from scripts.benchmarks.syllables import Answers, mouth_place, onsets, syllables

BEFORE_SECONDS = 0.3
PACKET = SAMPLE_RATE // 50


class Clock:
    """Goes when somebody waits."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds


class Inline(Executor):
    """Works at once, on the thread that asks for it."""

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """A future that is done."""
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def natural_lead(portrait: Path, size: int, seconds: float = 6.0) -> Answers:
    """Answers in the face's own time: each syllable leaves BEFORE_SECONDS before its sound is played."""
    talker, clock, answers = pipeline.load("lite", "cpu"), Clock(), Answers()
    face = LiveFace(talker, talker.portrait(portrait, size=size), RenderOptions(), now=clock, executor=Inline())
    sound = syllables(seconds, SAMPLE_RATE)
    for begin in range(0, len(sound), PACKET):
        clock.wait(PACKET / SAMPLE_RATE)
        face.push(sound[begin : begin + PACKET], is_live=True)
        at = clock.time
        for begun in face.begin_frames():
            frame = face.finish_frame(begun, lambda _: None)
            time = frame.index / FPS
            answers.seen.append((time, mouth_place(frame.picture)))
            for k, piece in enumerate(np.split(face.sound(frame), 4)):
                answers.heard.append((time + k / (4 * FPS), float(np.sqrt(np.square(piece).mean()))))
        clock.time = at
    face.close()
    answers.said = [at - BEFORE_SECONDS for at in onsets(answers.heard)]
    return answers
