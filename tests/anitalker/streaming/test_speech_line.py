"""Speech on a time line: order, gaps, interruptions, ends of turns."""

import numpy as np
import pytest

from anitalker.streaming.speech_line import FADE_SAMPLES, SpeechLine, is_audible


def ones(count):
    return np.ones(count, np.float32)


def test_speech_follows_speech_and_never_begins_in_the_past():
    line = SpeechLine()
    assert line.append(ones(100), 50) == 50
    assert line.append(2 * ones(100), 60) == 150
    assert line.append(3 * ones(100), 400) == 400 and line.end == 500
    sound = line.read(0, 600)
    assert sound[[0, 49, 50, 149, 150, 249, 250, 399, 400, 499, 500]].tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 3, 3, 0]


def test_an_interruption_fades_and_drops_the_rest():
    line = SpeechLine()
    line.append(ones(1000), 0)
    line.append(ones(1000), 0)
    line.mark(0)
    assert line.cut(400) == 1600
    sound = line.read(0, 2000)
    assert (sound[:400] == 1).all() and not sound[400 + FADE_SAMPLES :].any()
    fade = sound[400 : 400 + FADE_SAMPLES]
    assert fade[0] == 1 and fade[-1] == 0 and (np.diff(fade) <= 0).all()
    assert line.end == 400 + FADE_SAMPLES and line.passed_marks(10_000) == 0
    assert line.append(ones(10), 500) == 400 + FADE_SAMPLES


def test_an_interruption_of_silence_changes_nothing():
    line = SpeechLine()
    assert line.cut(400) == 0
    line.append(ones(100), 0)
    assert line.cut(400) == 0 and line.read(0, 100).all()


def test_ends_of_turns_are_counted_when_they_are_heard():
    line = SpeechLine()
    line.append(ones(100), 0)
    line.mark(0)
    line.mark(300)
    assert [line.passed_marks(at) for at in (99, 100, 299, 300, 301)] == [0, 1, 0, 1, 0]


def test_what_was_heard_is_forgotten():
    line = SpeechLine()
    for _ in range(10):
        line.append(ones(100), 0)
    line.forget(250)
    assert len(line._pieces) == 8 and line.read(200, 800).all()


@pytest.mark.parametrize(("level", "audible"), [(0.0, False), (0.001, False), (0.1, True)])
def test_noise_is_no_speech(level, audible):
    assert is_audible((level * np.random.default_rng(0).standard_normal(640)).astype(np.float32)) is audible
    assert not is_audible(np.zeros(0, np.float32))
