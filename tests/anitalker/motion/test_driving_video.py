"""Driving videos: batches do not matter, codes are smoothed, no frame is lost, gaps are bridged."""

import numpy as np
import pytest
import torch

from anitalker.motion import driving_video
from anitalker.motion.driving_video import DrivingMotion, lost_frames_warning, read_codes
from anitalker.motion.following_crop import DrivingFrame

HIGH = np.array([0.16, 0.09, 0.09, np.inf, np.inf, np.inf], np.float32)
USUAL = (-HIGH, HIGH)
START = np.full(20, 0.5, np.float32)


def read_level(pictures):
    """A model that reads the mean level of a picture, in -1..1."""
    level = pictures.float().mean((1, 2, 3))[:, None] / 127.5 - 1
    return level.expand(-1, 20), torch.ones(len(pictures), 64)


def frames(levels, shots=None):
    """One frame for each level; None: no face."""
    crops = [None if level is None else np.full((256, 256, 3), level, np.uint8) for level in levels]
    return [DrivingFrame(crop, 0 if shots is None else shots[number]) for number, crop in enumerate(crops)]


def drive(motion, seen=None, shots=None):
    motion = np.asarray(motion, np.float32)
    count = len(motion)
    seen = np.ones(count, bool) if seen is None else np.array(seen)
    return DrivingMotion(motion, np.ones(64), seen, np.zeros(count, int) if shots is None else np.array(shots))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 33])
def test_every_frame_is_read(count):
    steps = []
    read = read_codes(
        read_level,
        frames(range(100, 100 + count)),
        count,
        lambda *step: steps.append(step),
        driving_video.DRIVING_FILTER,
    )
    assert read.motion.shape == (count, 20) and steps[-1] == ("encode", count, count)
    assert (np.diff(read.motion[:, 0]) > 0).all()
    assert abs(np.linalg.norm(read.identity) - 1) < 1e-6


def test_codes_are_smoothed():
    """A code that flickers by one level comes out with less flicker."""
    flicker = frames([100 + n % 2 for n in range(40)])
    motion = read_codes(read_level, flicker, 40, smoothing=driving_video.DRIVING_FILTER).motion
    assert motion[20:, 0].std() < 0.5 * (0.5 / 127.5)
    as_read = read_codes(read_level, flicker, 40).motion
    assert as_read[20:, 0].std() == pytest.approx(0.5 / 127.5, rel=1e-4)


def test_smoothing_begins_anew_after_a_cut_and_after_a_gap():
    levels, shots = [50, 50, 200, 200, None, None, 90], [0, 0, 1, 1, 1, 1, 1]
    read = read_codes(read_level, frames(levels, shots), 7, smoothing=driving_video.DRIVING_FILTER)
    expected = np.array([50, 50, 200, 200, 127.5, 127.5, 90]) / 127.5 - 1
    np.testing.assert_allclose(read.motion[:, 0], expected, atol=1e-6)
    assert read.seen.tolist() == [True] * 4 + [False] * 2 + [True] and read.shots.tolist() == shots


def test_the_expression_is_the_drivers_own_and_the_pose_is_relative():
    """A video that began with an open mouth drew the lips through each other for its whole length."""
    motion = np.zeros((4, 20))
    motion[:, 8] = [0.7, 0.2, 0.1, 0.3]
    motion[:, 0] = [0.10, 0.12, 0.08, 0.10]
    moved = drive(motion).relative(START, USUAL)
    np.testing.assert_allclose(moved[:, 8], motion[:, 8])
    np.testing.assert_allclose(moved[:, 0], 0.5 + motion[:, 0] - 0.10, atol=1e-6)
    np.testing.assert_array_equal(drive(motion).absolute(), motion.astype(np.float32))


def test_a_video_that_begins_with_a_turned_head_does_not_turn_the_portrait_for_good():
    motion = np.zeros((50, 20))
    motion[:3, 0] = 0.6  # 34 degrees
    front = np.zeros(20, np.float32)
    moved = drive(motion).relative(front, USUAL)
    np.testing.assert_allclose(moved[:3, 0], 0.6 - HIGH[0], atol=1e-6)
    np.testing.assert_allclose(moved[3:, 0], -HIGH[0], atol=1e-6)
    turned = np.full(20, 0.6, np.float32)  # a portrait that is turned as well moves from its own pose
    np.testing.assert_allclose(drive(motion).relative(turned, USUAL)[:, 0], motion[:, 0], atol=1e-6)


def test_codes_that_are_relative_as_a_whole():
    motion = np.random.default_rng(0).normal(size=(5, 20))
    moved = drive(motion).relative(START, (np.full(20, -np.inf), np.full(20, np.inf)))
    np.testing.assert_allclose(moved, 0.5 + motion - motion[0], atol=1e-6)


def test_each_shot_has_a_pose_of_its_own_and_follows_smoothly():
    motion = np.zeros((20, 20))
    motion[10:, 3], motion[10:, 9] = 0.4, 0.2
    moved = drive(motion, shots=[0] * 10 + [1] * 10).relative(START, USUAL)
    np.testing.assert_allclose(moved[:, 3], 0.5, atol=1e-6)
    assert 0 < moved[10, 9] < 0.1 and moved[15:, 9] == pytest.approx(0.2)
    assert (np.diff(moved[9:16, 9]) >= 0).all()


def test_a_short_gap_passes_from_face_to_face():
    motion = np.zeros((8, 20))
    motion[6:] = 1.0
    filled = drive(motion, [True] * 3 + [False] * 3 + [True] * 2).absolute(START)
    assert (np.diff(filled[:, 0]) >= 0).all() and filled[4, 0] == pytest.approx(0.5)


def test_a_long_gap_has_a_rest():
    motion = np.zeros((60, 20))
    motion[50:] = 1.0
    lost = [10 <= n < 50 for n in range(60)]
    filled = drive(motion, ~np.array(lost)).bridged(motion, START)
    np.testing.assert_allclose(filled[20:40], 0.5)
    assert np.abs(np.diff(filled[:, 0])).max() < 0.1
    held = drive(motion, ~np.array(lost)).absolute()
    assert (np.diff(held[:, 0]) >= 0).all()


def test_the_portrait_rests_before_the_first_face_and_after_the_last():
    motion = np.ones((60, 20))
    seen = np.array([20 <= n < 30 for n in range(60)])
    filled = drive(motion, seen).bridged(motion, START)
    np.testing.assert_allclose(filled[[0, -1]], 0.5)
    np.testing.assert_allclose(filled[20:30], 1.0)
    assert np.abs(np.diff(filled[:, 0])).max() < 0.1
    np.testing.assert_allclose(drive(motion, seen).absolute(), 1.0)


def test_the_warning_counts_frames_and_tells_when():
    assert lost_frames_warning(np.zeros(5, bool)) is None
    lost = np.zeros(50, bool)
    lost[:5] = lost[30:37] = True
    sentence = lost_frames_warning(lost)
    assert sentence.startswith("12 of 50 frames of the driving video without a trustworthy face: held")
    assert "0.0 to 0.2 s, 1.2 to 1.5 s" in sentence
    many = lost_frames_warning(np.arange(40) % 2 == 0)
    assert "and 15 more times" in many
