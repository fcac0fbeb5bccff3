"""The table of lips: who hears wins, who trembles, opens with loudness or belongs to somebody else does not."""

import numpy as np
import pytest

from scripts.evaluation import lips
from scripts.evaluation.lips import LipCurves, lip_report, mean_of_others, others


def syllables(seed, frames=200):
    """Lips that close every 8 to 14 frames, and open to random heights between."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(8, 15, 40))
    knots = np.sort(np.concatenate([at, at[:-1] + np.diff(at) // 2]))
    heights = np.where(np.isin(knots, at), 0.0, 0.04 + 0.03 * rng.random(len(knots)))
    return np.interp(np.arange(frames), knots, heights)


def curves(truth, made, number, stride=1):
    loud = np.random.default_rng(100 + number).random(len(truth))
    return LipCurves(str(number), truth, [made[::stride]], truth, loud, made)


def lips_of(make, stride=1, clips=6):
    truths = [syllables(number) for number in range(clips)]
    return lip_report([curves(truth, make(truth), number, stride) for number, truth in enumerate(truths)], stride)


def test_the_truth_wins_everything():
    report = lips_of(lambda truth: truth)
    assert report["lip_correlation"] == pytest.approx(1) and report["closures"]["f1"] == 1
    assert report["closures"]["stretches"]["f1"] == 1 and report["spread_ratio"] == pytest.approx(1)
    assert abs(report["shuffled"]) < 0.2 and report["above_loudness"] > 0.8
    low, high = report["shuffled_interval"]
    assert low <= report["shuffled"] <= high and report["per_clip"] == pytest.approx([1] * 6)
    assert report["closures"]["true"] == sum(len(lips.closures(syllables(number))) for number in range(6))
    assert report["table"]["made"]["stretch_f1"] == 1
    table = report["table"]
    assert table["made"]["lip_correlation"] == pytest.approx(table["scorer_on_true_frames"]["lip_correlation"])
    for name in ("copy", "mean_motion", "loudness", "trembling", "shuffled"):
        assert table[name]["lip_correlation"] < 0.35 and table[name]["closure_f1"] < 0.6, name
    assert table["copy"] == {
        "lip_correlation": 0, "interval": [0, 0], "closure_f1": 0, "closure_f1_interval": [0, 0], "stretch_f1": 0
    }  # fmt: skip


def test_flat_lips_correlate_but_have_no_spread():
    report = lips_of(lambda truth: 0.02 + 0.3 * truth, stride=2)
    assert report["lip_correlation"] == pytest.approx(1) and report["spread_ratio"] == pytest.approx(0.3)


@pytest.mark.slow
def test_late_lips_are_late_and_late_closures_are_missed():
    report = lips_of(lambda truth: np.roll(truth, 3))
    assert report["lip_lag_frames"] == 3 and report["correlation_at_best_lag"] > 0.95
    assert report["closures"]["f1"] < 0.4
    assert lips_of(lambda truth: np.roll(truth, 2))["closures"]["f1"] > 0.9


def test_without_whole_clips_there_are_no_closures():
    clips = [
        LipCurves(str(seed), truth, [truth[::2]], truth[::2], truth, np.zeros(0))
        for seed, truth in enumerate(map(syllables, range(2)))
    ]
    report = lip_report(clips, 2)
    assert "closures" not in report and set(report["table"]) == {"copy", "mean_motion", "loudness", "trembling"}
    assert report["scorer_lip_correlation"] == pytest.approx(1)


def test_one_person_has_no_interval_of_strangers():
    report = lip_report([curves(syllables(0), syllables(0), 0)], 1)
    assert report["shuffled"] == 0 and report["shuffled_interval"] is None


def test_the_mean_of_others_leaves_the_person_out():
    clips = []
    for value, person in ((1.0, "a"), (2.0, "b"), (4.0, "b"), (9.0, "a")):
        curve = np.full(5, value)
        clips.append(LipCurves(person, curve, [curve], curve, np.ones(5), curve))
    assert mean_of_others(clips[0], clips).tolist() == [3.0] * 5
    assert others(clips[1], clips) == [clips[3], clips[0]]  # those that come after it first


def closing(at, frames=100, width=1.5):
    """Lips that are open (1) and close at the frames `at`."""
    time = np.arange(frames)
    return 1 - sum(np.exp(-((time - t) ** 2) / (2 * width**2)) for t in at)


def frames_of(curve):
    return [first for first, _ in lips.closures(curve)]


def counts(made, true):
    made, true = lips.closures(made), lips.closures(true)
    return lips.matches(made, true), len(made), len(true)


def test_closures_are_found_where_they_are():
    assert frames_of(closing([10, 30, 55, 90])) == [10, 30, 55, 90]
    shallow = closing([10, 30]) + 0.2 * (closing([60]) - 1)  # a dip to 80% is no closure
    assert frames_of(shallow) == [10, 30]


def test_a_mouth_that_is_held_shut_closes_every_third_frame():
    held = np.concatenate([np.ones(10), np.zeros(9), np.ones(10)])
    assert frames_of(held) == [10, 13, 16]
    assert lips.closed_stretches(held) == [(10, 18)]


def test_closures_at_both_ends_count_and_a_still_mouth_has_none():
    assert frames_of(closing([0, 50, 99])) == [0, 50, 99]
    assert len(lips.closures(np.full(50, 0.3))) == 0


@pytest.mark.parametrize(("late", "expected"), [(0, 1.0), (2, 1.0), (3, 0.0)])
def test_f1_of_late_closures(late, expected):
    true, made = closing([20, 40, 60]), closing([20 + late, 40 + late, 60 + late])
    assert lips.f1([counts(made, true)]) == expected


def test_trembling_does_not_win():
    true = closing(range(10, 390, 20), frames=400)
    noise = np.random.default_rng(0).normal(size=400)
    assert lips.f1([counts(noise, true)]) < 0.35
    shaking = np.tile([0.0, 1.0], 200)  # closed in every second frame: everything is met, most of it for nothing
    assert lips.f1([counts(shaking, true)]) < 0.35


def test_events_pair_one_to_one():
    assert lips.matches([(10, 10), (11, 11), (12, 12)], [(11, 11)]) == 1
    assert lips.matches([(10, 10), (14, 14)], [(12, 12), (16, 16)]) == 2
    assert lips.matches([(5, 9)], [(11, 20)]) == 1 and lips.matches([(5, 8)], [(11, 20)]) == 0
    assert lips.f1([(1, 1, 2), (0, 1, 0)]) == pytest.approx(0.5)


def test_a_pause_is_one_stretch_however_it_trembles():
    curve = np.where((np.arange(100) > 40) & (np.arange(100) < 60), 0.0, 1.0)
    curve += 0.02 * np.random.default_rng(0).random(100)
    assert lips.closed_stretches(curve) == [(41, 59)]
    assert len(lips.closures(curve)) > 1
