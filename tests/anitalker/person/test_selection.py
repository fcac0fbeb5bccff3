"""Which frames become portrait and references."""

import numpy as np
import pytest

from anitalker.person.selection import REFERENCES, Frames, choose_portrait, choose_references


@pytest.fixture
def frames():
    """100 frames: turned, open-mouthed and blurred ones, the last 20 held out; frame 33 is the good portrait."""
    rng = np.random.default_rng(0)
    count = 100
    lips = rng.uniform(0.02, 0.12, count).astype(np.float32)
    motion = rng.normal(0, 0.15, (count, 20)).astype(np.float32)
    sharp = rng.uniform(5, 10, count)
    landmarks = rng.uniform(0.3, 0.7, (count, 468, 3)).astype(np.float32)
    landmarks[:, 10, :2], landmarks[:, 152, :2] = (0.5, 0.2), (0.5, 0.8)
    for good in (33, 90):
        lips[good], motion[good], sharp[good] = 0.001, 0.0, 9.0
    lips[50], sharp[50] = 0.2, 10.0  # a wrong landmark, sharp
    crops = np.zeros((count, 1, 1, 3), np.uint8)
    index = np.arange(count)
    return Frames(0 * index, index, crops, landmarks, motion, lips, np.full(count, 0.3), sharp, index >= 80)


def test_the_portrait_is_frontal_shut_and_not_held_out(frames):
    assert choose_portrait(frames) == 33


def test_a_portrait_with_shut_eyes_is_not_taken(frames):
    frames.eyes[33] = 0.05
    assert choose_portrait(frames) != 33


def test_references_are_sharp_spread_and_not_held_out(frames):
    chosen = choose_references(frames, 33)
    assert len(set(chosen)) == REFERENCES and chosen.max() < 80 and 50 not in chosen
    assert frames.sharp[chosen].min() >= np.quantile(frames.sharp[:80], 0.35)
    assert frames.lips[chosen[0]] == frames.lips[chosen].max()
    nearest = [np.sort(np.abs(frames.lips[chosen] - lip))[1] for lip in frames.lips[chosen]]
    assert np.ptp(frames.lips[chosen]) > 0.05 and max(nearest) > 0
