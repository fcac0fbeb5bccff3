"""Events in made-up curves and pictures whose number, place or size is known."""

import numpy as np
import pytest

from anitalker.faces.landmarks import face_height
from scripts.evaluation import events


def closing(at, frames=100, width=1.5):
    """Lips that are open (1) and close at the frames `at`."""
    time = np.arange(frames)
    return 1 - sum(np.exp(-((time - t) ** 2) / (2 * width**2)) for t in at)


def counts(made, true):
    made, true = events.closures(made), events.closures(true)
    return events.matches(made, true), len(made), len(true)


def test_closures_are_found_where_they_are():
    assert events.closures(closing([10, 30, 55, 90])).tolist() == [10, 30, 55, 90]
    shallow = closing([10, 30]) + 0.2 * (closing([60]) - 1)  # a dip to 80% is no closure
    assert events.closures(shallow).tolist() == [10, 30]


def test_a_mouth_that_is_held_shut_closes_every_third_frame():
    held = np.concatenate([np.ones(10), np.zeros(9), np.ones(10)])
    assert events.closures(held).tolist() == [10, 13, 16]
    assert events.closed_stretches(held) == [(10, 18)]


def test_closures_at_both_ends_count_and_a_still_mouth_has_none():
    assert events.closures(closing([0, 50, 99])).tolist() == [0, 50, 99]
    assert len(events.closures(np.full(50, 0.3))) == 0


@pytest.mark.parametrize(("late", "expected"), [(0, 1.0), (2, 1.0), (3, 0.0)])
def test_f1_of_late_closures(late, expected):
    true, made = closing([20, 40, 60]), closing([20 + late, 40 + late, 60 + late])
    assert events.f1([counts(made, true)]) == expected


def test_trembling_does_not_win():
    true = closing(range(10, 390, 20), frames=400)
    noise = np.random.default_rng(0).normal(size=400)
    assert events.f1([counts(noise, true)]) < 0.35
    shaking = np.tile([0.0, 1.0], 200)  # closed in every second frame: everything is met, most of it for nothing
    assert events.f1([counts(shaking, true)]) < 0.35


def test_events_pair_one_to_one():
    assert events.matches([10, 11, 12], [11]) == 1
    assert events.matches([10, 14], [12, 16]) == 2
    assert events.matches([(5, 9)], [(11, 20)]) == 1 and events.matches([(5, 8)], [(11, 20)]) == 0
    assert events.f1([(1, 1, 2), (0, 1, 0)]) == pytest.approx(0.5)


def test_a_pause_is_one_stretch_however_it_trembles():
    curve = np.where((np.arange(100) > 40) & (np.arange(100) < 60), 0.0, 1.0)
    curve += 0.02 * np.random.default_rng(0).random(100)
    assert events.closed_stretches(curve) == [(41, 59)]
    assert len(events.closures(curve)) > 1


def test_blinks_are_counted_sleep_is_not():
    eyes = np.full(500, 0.3)
    for start in (50, 150, 300):
        eyes[start : start + 5] = 0.05
    eyes[152] = 0.2  # lids tremble in one of them
    eyes[400:440] = 0.05  # shut for 1.6 s
    assert events.blinks(eyes) == [(50, 54), (150, 154), (300, 304)]


def test_head_range_in_degrees():
    poses = np.zeros((101, 6))
    poses[:, 0] = np.deg2rad(np.linspace(-10, 10, 101))
    np.testing.assert_allclose(events.head_range(poses), [18, 0, 0], atol=1e-6)


def test_speed_and_jitter_of_known_motion(fakes):
    points = np.repeat(fakes.face()[None], 10, 0)
    height = float(face_height(points[0]))
    points[:, :, 0] += 0.01 * height * np.arange(10)[:, None]
    np.testing.assert_allclose(events.speed(points), 1.0, rtol=1e-4)  # percent of the face height per frame
    assert events.jitter(points) == pytest.approx(0, abs=1e-4)
    points[::2, :, 0] += 0.01 * height
    assert events.jitter(points) == pytest.approx(2.0, rel=1e-3)


def test_background_counts_only_what_is_outside_the_head(fakes):
    points = np.repeat(fakes.face()[None] * [0.4, 0.4, 1] + [0.3, 0.3, 0], 3, 0)  # a small face in the middle
    frames = np.full((3, 64, 64, 3), 100, np.uint8)
    mask = events.background_mask(points, 64)
    assert 0.05 < mask.mean() < 0.9 and not mask[-1].any()  # below the chin are shoulders
    frames[1:, ~mask] = 0
    assert events.background_change(frames, points) == 0
    frames[1:, mask] = 105
    assert events.background_change(frames, points) == pytest.approx(5)
    assert events.background_change(frames, np.repeat(fakes.face()[None] * 3 - 1, 3, 0)) is None
