"""The crop of a driving video: at rest for a head that stays, behind one that goes far, anew after a cut."""

from dataclasses import replace

import numpy as np
import pytest

from anitalker.motion.camera import STILL
from anitalker.motion.following_crop import FREE, LIMIT, FollowingCrop, held, place

SIDE = 100 / 0.55  # of the crop of a face of 100 pixels


@pytest.fixture
def offsets(make_face):
    """Runs faces at the places x, y of each frame and tells where in its crop each face is, in crop sides [T,2]."""

    def run(places, cameras=None, frames=None, heights=None, seen=None):
        cropper, positions, shots = FollowingCrop(), [], []
        for number, (x, y) in enumerate(places):
            face = make_face(x, y, heights[number] if heights is not None else 100.0)
            if seen is not None and not seen[number]:
                face = replace(face, score=0.0)
            frame = frames[number] if frames is not None else np.zeros((30, 40, 3), np.uint8)
            driving = cropper(frame, face, STILL if cameras is None else cameras[number])
            shots.append(driving.shot)
            if driving.crop is None:
                positions.append((np.nan, np.nan))
                continue
            positions.append((place(face.landmarks)[:2] - cropper.square.origin) / cropper.square.side)
        return np.array(positions), shots

    return run


def test_a_head_that_stays_near_moves_in_a_crop_at_rest(offsets):
    places = [(200 + 0.8 * FREE[0] * SIDE * np.sin(t / 3), 140) for t in range(20)]
    positions, _ = offsets(places)
    moved = positions[:, 0] - positions[0, 0]
    np.testing.assert_allclose(moved, 0.8 * FREE[0] * np.sin(np.arange(20) / 3), atol=5e-3)


def test_a_head_that_walks_across_stays_within_the_limit(offsets):
    positions, shots = offsets([(60 + 10.0 * t, 140) for t in range(25)] + [(300, 140)] * 45)
    moved = positions - positions[0]
    assert np.abs(moved).max() <= LIMIT.max() + 0.01
    assert np.abs(moved[-1]).max() < 0.8 * FREE[0]  # the crop catches up
    assert np.abs(np.diff(moved[:, 0])).max() < 0.06  # 0.055 a frame is the walk
    assert set(shots) == {0}


def test_a_head_that_comes_nearer_is_held_too(offsets):
    heights = 100 * np.exp(np.linspace(0, 0.9, 30))
    positions, _ = offsets([(200, 140)] * 30, heights=heights)
    assert np.abs(positions - positions[0]).max() < 0.02


def test_camera_movement_is_not_head_movement(offsets):
    shift = 12 * np.sin(np.arange(25) * 0.9)
    steps = np.diff(shift, prepend=0)
    cameras = [STILL + np.array([[0, 0, step], [0, 0, 0]]) for step in steps]
    positions, _ = offsets([(200 + x, 140) for x in shift], cameras)
    np.testing.assert_allclose(positions[:, 0], positions[0, 0], atol=1e-6)


def test_a_cut_begins_a_new_shot_in_a_crop_of_its_own(offsets):
    frames = [np.full((300, 400, 3), 40, np.uint8)] * 5 + [np.full((300, 400, 3), 120, np.uint8)] * 5
    positions, shots = offsets([(120, 120)] * 5 + [(260, 160)] * 5, frames=frames, heights=[80] * 5 + [120] * 5)
    assert shots == [0] * 5 + [1] * 5
    np.testing.assert_allclose(positions[5], positions[0], atol=5e-3)


def test_a_flash_is_no_cut(offsets):
    frames = [np.full((300, 400, 3), level, np.uint8) for level in (40, 200, 40)]
    assert offsets([(200, 140), (201, 140), (202, 140)], frames=frames)[1] == [0, 0, 0]


def test_frames_without_a_face_have_no_crop(offsets):
    positions, shots = offsets([(200, 140)] * 6, seen=[False, True, False, False, True, True])
    assert np.isnan(positions[:, 0]).tolist() == [True, False, True, True, False, False]
    assert set(shots) == {0}


def test_held_is_smooth_and_bounded():
    away = np.linspace(-1, 1, 2001)[:, None] * np.ones(3)
    kept = np.array([held(a) for a in away])
    assert (np.abs(kept) < LIMIT + 1e-9).all() and (np.diff(kept, axis=0) >= -1e-12).all()
    inside = np.abs(away) <= FREE
    np.testing.assert_array_equal(kept[inside], away[inside])
    assert np.abs(np.diff(kept, 2, axis=0)).max() < 1e-4  # no corner
