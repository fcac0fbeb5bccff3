"""Similarity transforms: pictures and landmarks move alike, and poses are mapped back."""

import torch

from anitalker.faces.landmarks import fit_pose, from_canonical
from anitalker.faces.similarity_transform import Similarity


def transforms():
    torch.manual_seed(3)
    return Similarity(torch.randn(4) * 0.2, torch.randn(4) * 0.1, torch.randn(4, 2) * 0.05)


def test_pictures_and_landmarks_move_alike(face):
    change = transforms()
    marks = from_canonical(face.expand(4, -1, -1), torch.tensor([[0.0, 0, 0, 0, 0, -0.8]]).expand(4, -1))
    pictures = torch.zeros(4, 1, 128, 128)
    x, y = (marks[:, 1, :2] * 128).long().unbind(-1)
    pictures[torch.arange(4), 0, y, x] = 1
    peak = change.pictures(torch.nn.functional.avg_pool2d(pictures, 5, 1, 2)).flatten(1).argmax(1)
    position = torch.stack([peak % 128, peak // 128], -1) / 128
    assert (position - change.landmarks(marks)[:, 1, :2]).abs().max() < 0.04


def test_pose_read_after_the_change_is_the_pose_before(face):
    change = transforms()
    pose = torch.randn(4, 6) * 0.1 - torch.tensor([0, 0, 0, 0, 0, 0.6])
    seen = fit_pose(change.landmarks(from_canonical(face.expand(4, -1, -1), pose)), face)
    assert torch.allclose(change.pose_back(torch.cat([seen, torch.zeros(4, 14)], 1))[:, :6], pose, atol=1e-3)
