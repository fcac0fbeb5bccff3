"""The halves of a face, what moves along a border, lips at rest, and what trembles below the nose."""

import numpy as np
import pytest
import torch

from anitalker.faces.landmarks import from_canonical
from scripts.evaluation import face_halves

SIZE = 64


def square_face(tilt=0.0):
    """Points whose hull is a square of half the picture, forehead above, chin below, the nose's base in the middle."""
    points = np.full((468, 3), 0.5, np.float32)
    corners = np.array([[-0.25, -0.25], [0.25, -0.25], [0.25, 0.25], [-0.25, 0.25], [0, -0.25], [0, 0.25], [0, 0]])
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    points[[100, 101, 102, 103, 10, 152, 2], :2] = 0.5 + corners @ turn.T
    return points


@pytest.mark.parametrize("tilt", [0.0, np.pi / 2])
def test_halves_lie_above_and_below_the_nose(tilt):
    upper, lower = (
        np.rot90(mask, round(tilt / (np.pi / 2))) for mask in face_halves.split_face(square_face(tilt), SIZE)
    )
    assert not (upper & lower).any()
    rows, columns = np.nonzero(lower)
    assert rows.min() == SIZE // 2 and rows.max() == 3 * SIZE // 4 - 1 and np.ptp(columns) == SIZE // 2 - 1
    assert np.nonzero(upper)[0].max() in (SIZE // 2 - 1, SIZE // 2 - 2)


def test_error_of_a_half_knows_nothing_of_the_other():
    target = np.full((2, SIZE, SIZE, 3), 100, np.uint8)
    output = target.copy()
    output[:, SIZE // 2 :] += 10
    upper, lower = (np.stack([mask] * 2) for mask in face_halves.split_face(square_face(), SIZE))
    assert face_halves.half_psnr(output, target, upper) == 100
    assert face_halves.half_psnr(output, target, lower) == pytest.approx(20 * np.log10(25.5), abs=1e-3)


def test_change_counts_along_the_border_alone():
    frames = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    frames[1, :, :32], frames[1, :, 32:] = 8, 200
    share = np.zeros((3, SIZE, SIZE), np.float32)
    share[:, :, 10:20], share[:, :, 20:] = 0.5, 1.0
    assert face_halves.border_change(frames, share) == 8
    share[0] = 0  # as filmed: of two changes only the second has a border in both frames
    assert face_halves.border_change(frames, share) == 8
    assert face_halves.border_change(frames, np.zeros_like(share)) == 0


def test_lips_are_at_rest_once_they_have_settled():
    opening = np.full(60, 0.03)
    opening[40:] += 0.05 * np.sin(np.arange(20))
    rest = face_halves.at_rest(opening)
    assert not rest[: face_halves.SETTLED].any() and rest[face_halves.SETTLED : 36].all() and not rest[37:].any()


def test_a_jaw_trembles_and_a_head_does_not(face):
    poses = torch.zeros(20, 6)
    poses[:, 0] = 0.3 * torch.sin(torch.arange(20.0))
    poses[:, 5] = -0.6
    shape = face.repeat(20, 1, 1)
    still = face_halves.trembling(from_canonical(shape, poses).numpy(), face)
    below = face[:, 1] > face[face_halves.NOSE_BASE, 1]
    shape[::2, below, 1] += 0.01
    shaken = face_halves.trembling(from_canonical(shape, poses).numpy(), face)
    assert still.shape == (20,) and still.max() < 1e-2
    assert shaken[1:-1] == pytest.approx(2.0, rel=0.02) and shaken[0] == shaken[-1] == 0
