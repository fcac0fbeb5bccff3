"""Delays of syllables: known ones are found, what is missing is not."""

import numpy as np
import pytest

from scripts.benchmarks.syllables import FIRST_SECONDS, PERIOD_SECONDS, Answers, mouth_place, syllables
from scripts.measure_live import summary


def test_syllables_stand_in_silence():
    sound = syllables(3, 16_000)
    loud = np.abs(sound).reshape(-1, 160).max(1) > 0.02
    begins = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    assert begins.tolist() == pytest.approx([100 * (FIRST_SECONDS + PERIOD_SECONDS * n) for n in range(3)], abs=1)
    assert np.abs(sound).max() < 1 and 0.2 < loud.mean() < 0.4


def answers(voice=0.2, lips=0.22):
    said = [1.0, 2.0, 3.0]
    heard = [(t, 0.1 * any(0 <= t - at - voice < 0.3 for at in said)) for t in np.arange(0, 4, 0.02)]
    opened = [(t, any(0 <= t - at - lips < 0.3 for at in said)) for t in np.arange(0, 4, 0.04)]
    seen = [(t, np.array([5.0 * is_open + 0.1 * t, 0])) for t, is_open in opened]  # the head sways
    return Answers(said, heard, seen)


def test_known_delays_are_found():
    facts = summary(answers(), [0.05])
    assert facts["voice_ms"]["p50"] == pytest.approx(200, abs=21)
    assert facts["lips_ms"]["p50"] == pytest.approx(220, abs=41)
    assert facts["skew_ms"]["p50"] == pytest.approx(-30, abs=30)  # 20 ms behind, and 50 are natural
    assert facts["frames_per_second"] == pytest.approx(25, abs=0.1) and facts["syllables"] == 3


def test_what_never_came_has_no_delay():
    silent = answers()
    silent.heard = [(t, 0.0) for t, _ in silent.heard]
    silent.seen = silent.seen[:1]
    facts = summary(silent, [])
    assert facts["voice_ms"] is None and facts["skew_ms"] is None and facts["frames_per_second"] == 0


def test_the_mouth_is_where_a_portrait_has_it():
    hair, mouth = np.zeros((2, 64, 64, 3), np.uint8)
    hair[:16], mouth[40:50, 24:40] = 200, 200
    assert not mouth_place(hair).any() and mouth_place(mouth).max() == 200
