"""Liveliness of made clips beside the true ones; seams between windows that jump, and that do not."""

import numpy as np
import pytest

from anitalker.faces.landmarks import face_height
from scripts.evaluation import liveliness as suite
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
    assert row["background_change_interval"] is None


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
    assert jumping["percentile"] == 100 and jumping["speed_elsewhere"] < jumping["limit"] < jumping["speed"]


def test_blinks_are_counted_sleep_is_not():
    eyes = np.full(500, 0.3)
    for start in (50, 150, 300):
        eyes[start : start + 5] = 0.05
    eyes[152] = 0.2  # lids tremble in one of them
    eyes[400:440] = 0.05  # shut for 1.6 s
    assert suite.blinks(eyes) == [(50, 54), (150, 154), (300, 304)]


def test_head_range_in_degrees():
    poses = np.zeros((101, 6))
    poses[:, 0] = np.deg2rad(np.linspace(-10, 10, 101))
    np.testing.assert_allclose(suite.head_range(poses), [18, 0, 0], atol=1e-6)


def test_speed_and_jitter_of_known_motion(fakes):
    points = np.repeat(fakes.face()[None], 10, 0)
    height = float(face_height(points[0]))
    points[:, :, 0] += 0.01 * height * np.arange(10)[:, None]
    np.testing.assert_allclose(suite.speed(points), 1.0, rtol=1e-4)  # percent of the face height per frame
    assert suite.speed(points, 2).mean() == pytest.approx(0, abs=1e-4)
    points[::2, :, 0] += 0.01 * height
    assert suite.speed(points, 2).mean() == pytest.approx(2.0, rel=1e-3)


def test_background_counts_only_what_is_outside_the_head(fakes):
    points = np.repeat(fakes.face()[None] * [0.4, 0.4, 1] + [0.3, 0.3, 0], 3, 0)  # a small face in the middle
    frames = np.full((3, 64, 64, 3), 100, np.uint8)
    mask = suite.background_mask(points, 64)
    assert 0.05 < mask.mean() < 0.9 and not mask[-1].any()  # below the chin are shoulders
    frames[1:, ~mask] = 0
    assert suite.background_change(frames, points) == 0
    frames[1:, mask] = 105
    assert suite.background_change(frames, points) == pytest.approx(5)
    assert suite.background_change(frames, np.repeat(fakes.face()[None] * 3 - 1, 3, 0)) is None
