"""A listening head nods at pauses, a little, and not when nobody talks."""

import numpy as np

from anitalker.streaming.nods import NOD_RADIANS, Nods


def nod(heard):
    nods = Nods(0)
    return np.array([nods(is_heard) for is_heard in heard])


def test_nobody_talks():
    assert not nod([False] * 500).any()


def test_it_nods_at_a_pause():
    pitch = nod([True] * 40 + [False] * 40)
    assert not pitch[:44].any()
    assert NOD_RADIANS[0] <= pitch.max() <= NOD_RADIANS[1] and pitch.min() >= 0
    assert pitch[-1] < 1e-6 and np.abs(np.diff(pitch)).max() < 0.25 * NOD_RADIANS[1]


def test_it_nods_now_and_then_in_a_long_phrase():
    pitch = nod([True] * 600)
    assert 3 <= np.sum((pitch[1:-1] > pitch[:-2]) & (pitch[1:-1] >= pitch[2:])) <= 6


def test_a_word_is_not_enough():
    assert not nod([True] * 10 + [False] * 100).any()
