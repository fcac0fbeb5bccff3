"""Where the mouth patch lies, and how the patches of two frames fit each other."""

import torch

from anitalker.decoder.flow import landmark_flow
from anitalker.decoder.mouth_patch import (
    alignments,
    cut_patch,
    lip_contours,
    patch_points,
    place_patch,
    sample,
    warp_patch,
)
from anitalker.faces.landmarks import LIPS, face_height, from_canonical


def placed(face, roll=0.0, x=0.0, y=0.0, scale=0.0):
    return from_canonical(face[None], torch.tensor([[0.0, 0, roll, x, y, -0.6 + scale]]))


def test_the_patch_is_about_the_lips_and_turns_with_the_head(face):
    for roll in (0.0, 0.3):
        landmarks = placed(face, roll)
        placement = place_patch(landmarks)
        assert torch.allclose(placement[0, :, 2], landmarks[0, list(LIPS), :2].mean(0), atol=1e-5)
        side = 2 * placement[0, :, 0].norm()
        assert abs(side / face_height(landmarks) - 0.5) < 1e-4
        assert abs(torch.atan2(placement[0, 1, 0], placement[0, 0, 0]).abs() - roll) < 0.02
        contours = lip_contours(landmarks, placement)
        assert contours.shape == (1, 2, 128, 128) and contours[:, 0].sum() > 400
        assert contours[0, 0, [0, -1]].sum() == 0 and contours[0, 0, :, [0, -1]].sum() == 0  # it holds all of the lips


def test_a_patch_of_positions_says_where_it_was_cut(face):
    axis = (torch.arange(256) + 0.5) / 256
    positions = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])[None]
    placement = place_patch(placed(face, 0.2))
    assert (cut_patch(positions, placement) - patch_points(placement).permute(0, 3, 1, 2)).abs().max() < 1e-4


def test_the_warped_patch_is_the_patch_of_the_warped_picture(face):
    axis = (torch.arange(256) + 0.5) / 256
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    picture = torch.stack([torch.sin(20 * x), torch.cos(15 * y), x * y])[None]
    source, target = placed(face), placed(face, 0.1, 0.02)
    flow, placement = landmark_flow(source, target, 96, 1e-3), place_patch(target)
    points = patch_points(placement)
    expected = sample(picture, points + sample(flow, points).permute(0, 2, 3, 1))
    assert (warp_patch(picture, flow, placement) - expected).abs().max() < 1e-6
    assert (warp_patch(picture, 0 * flow, placement) - cut_patch(picture, placement)).abs().max() < 1e-6


def test_alignments_follow_skull_and_chin(face):
    source, target = placed(face), placed(face, 0.2, 0.05, -0.02, 0.1)
    skull, jaw = alignments(source, place_patch(source), target, place_patch(target)).unbind(1)
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    assert (skull - identity).abs().max() < 0.02 and (jaw - identity).abs().max() < 0.02  # a rigid move is none
    opened = source.clone()
    opened[:, [152, 148, 377, 176, 400], 1] += 0.05  # the chin drops by 0.05 crop widths
    placement = place_patch(source)
    skull, jaw = alignments(source, placement, opened, placement).unbind(1)
    half = placement[0, 0, 0]
    assert (skull - identity).abs().max() < 1e-4
    assert abs(jaw[0, 1, 2] + 0.05 / half) < 1e-3 and abs(jaw[0, 0, 2]) < 5e-3  # lower teeth come from above
