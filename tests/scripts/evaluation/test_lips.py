"""The table of lips: who hears wins, who trembles, opens with loudness or belongs to somebody else does not."""

import numpy as np
import pytest

from scripts.evaluation.lips import Lips
from scripts.evaluation.metrics import bootstrap
from scripts.evaluation.presence import Presence, seam_check
from scripts.evaluation.subject import Source


def syllables(seed, frames=200):
    """Lips that close every 8 to 14 frames, and open to random heights between."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(8, 15, 40))
    knots = np.sort(np.concatenate([at, at[:-1] + np.diff(at) // 2]))
    heights = np.where(np.isin(knots, at), 0.0, 0.04 + 0.03 * rng.random(len(knots)))
    return np.interp(np.arange(frames), knots, heights)


def lips_of(make, stride=1, clips=6):
    lips = Lips(stride)
    for number in range(clips):
        truth = syllables(number)
        whole = make(truth, number)
        loud = np.random.default_rng(100 + number).random(len(truth))
        lips.add(truth, [whole[::stride]], whole, truth, loud, str(number))
    return lips.result()


def test_the_truth_wins_everything():
    report = lips_of(lambda truth, _: truth)
    assert report["lip_correlation"] == pytest.approx(1) and report["closures"]["f1"] == 1
    assert report["closures"]["stretches"]["f1"] == 1 and report["spread_ratio"] == pytest.approx(1)
    assert abs(report["shuffled"]) < 0.2 and report["above_loudness"] > 0.8
    table = report["table"]
    assert table["made"]["lip_correlation"] == pytest.approx(table["scorer_on_true_frames"]["lip_correlation"])
    for name in ("copy", "mean_motion", "loudness", "trembling", "shuffled"):
        assert table[name]["lip_correlation"] < 0.35 and table[name]["closure_f1"] < 0.6, name
    assert table["copy"] == {
        "lip_correlation": 0, "interval": [0, 0], "closure_f1": 0, "closure_f1_interval": [0, 0], "stretch_f1": 0
    }  # fmt: skip


def test_flat_lips_correlate_but_have_no_spread():
    report = lips_of(lambda truth, _: 0.02 + 0.3 * truth, stride=2)
    assert report["lip_correlation"] == pytest.approx(1) and report["spread_ratio"] == pytest.approx(0.3)


def test_late_lips_are_late_and_late_closures_are_missed():
    report = lips_of(lambda truth, _: np.roll(truth, 3))
    assert report["lip_lag_frames"] == 3 and report["correlation_at_best_lag"] > 0.95
    assert report["closures"]["f1"] < 0.4
    assert lips_of(lambda truth, _: np.roll(truth, 2))["closures"]["f1"] > 0.9


def test_without_whole_clips_there_are_no_closures():
    lips = Lips(2)
    for number in range(2):
        truth = syllables(number)
        lips.add(truth, [truth[::2]], np.zeros(0), truth[::2], truth, str(number))
    report = lips.result()
    assert "closures" not in report and set(report["table"]) == {"copy", "mean_motion", "loudness", "trembling"}
    assert report["scorer_lip_correlation"] == pytest.approx(1)


def test_the_mean_of_others_leaves_the_person_out():
    lips = Lips(1)
    for value, name in ((1.0, "a"), (2.0, "b"), (4.0, "b"), (9.0, "a")):
        lips.add(np.full(5, value), [np.full(5, value)], np.full(5, value), np.full(5, value), np.ones(5), name)
    assert lips.mean_of_others(0).tolist() == [3.0] * 5 and lips.others(1) == [0, 3]


def test_bootstrap_of_a_known_mean():
    values = list(np.random.default_rng(0).normal(5, 1, 100))
    low, high = bootstrap(values, lambda chosen: float(np.mean(chosen)))
    assert low < 5 < high and 0.25 < high - low < 0.55
    assert bootstrap([1, 1, 1], lambda chosen: float(np.sum(chosen))) == [3, 3]


def test_presence_compares_made_with_true(fakes):
    known, presence = fakes.clip(), Presence()
    poses = np.zeros((fakes.FRAMES, 6))
    poses[:, 0] = np.deg2rad(np.linspace(-8, 8, fakes.FRAMES))
    presence.add("true", known.frames, known.landmarks, poses)
    presence.add("made", known.frames, known.landmarks, poses / 2)
    report = presence.result()
    assert report["head_range_ratio"]["value"] == pytest.approx(0.5) and report["jitter_ratio"]["value"] == 1
    assert report["true"]["head_range_degrees"]["yaw"] == pytest.approx(14.4, abs=0.1)


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


def test_seams_that_jump_are_found(fakes):
    source = Source(None, fakes.face(), np.zeros(20))
    smooth, jumping = (seam_check(Windows(jump), source, np.zeros(9), 2) for jump in (1, 5))
    assert smooth["seams"] == 18 and smooth["within"] == 1 and smooth["percentile"] < 100
    assert jumping["within"] == 0 and jumping["speed"] == pytest.approx(5 * jumping["speed_elsewhere"], rel=0.01)
    assert jumping["percentile"] == 100
