"""Liveliness of made clips beside the true ones; seams between windows that jump, and that do not."""

import numpy as np
import pytest

from scripts.evaluation.clips import Source
from scripts.evaluation.liveliness import liveliness, measure, seam_check


def test_made_is_compared_with_true(fakes):
    known = fakes.clip()
    poses = np.zeros((fakes.FRAMES, 6))
    poses[:, 0] = np.deg2rad(np.linspace(-8, 8, fakes.FRAMES))
    true, made = (measure(known.frames, known.landmarks, turned) for turned in (poses, poses / 2))
    report = liveliness([made], [true])
    assert report["head_range_ratio"]["value"] == pytest.approx(0.5) and report["jitter_ratio"]["value"] == 1
    assert report["true"]["head_range_degrees"]["yaw"] == pytest.approx(14.4, abs=0.1)
    assert set(liveliness([made], [])) == {"made"}


def test_blinks_are_counted_per_minute(fakes):
    video = {"frames": 500, "blinks": 3, "head": np.zeros(3), "jitter": 0.0, "background": None}
    row = liveliness([video], [])["made"]
    assert row["blinks_per_minute"] == pytest.approx(9.0) and row["background_change"] is None


class Windows:
    """Motion that steps by about one everywhere, and by `jump` into every tenth frame."""

    def __init__(self, jump):
        self.jump = jump

    def speak(self, source, speech, seed):
        steps = np.linspace(0.9, 1.1, 100)
        steps[::10] = self.jump
        return np.cumsum(steps)[:, None] * np.ones(20)

    def posed(self, points, start, motion):
        moved = np.repeat(points[None], len(motion), 0)
        moved[:, :, 0] += motion[:, :1] * 1e-3
        return moved

    def seams(self, frames):
        return list(range(10, frames, 10))


def test_seams_that_jump_are_found(fakes, monkeypatch):
    monkeypatch.setattr("scripts.evaluation.liveliness.SEEDS", 2)
    source = Source(None, fakes.face(), np.zeros(20))
    smooth, jumping = (seam_check(Windows(jump), source, np.zeros(9)) for jump in (1, 5))
    assert smooth["seams"] == 18 and smooth["within"] == 1 and smooth["percentile"] < 100
    assert jumping["within"] == 0 and jumping["speed"] == pytest.approx(5 * jumping["speed_elsewhere"], rel=0.01)
    assert jumping["percentile"] == 100
