"""Losses on made-up places and pictures."""

import math
from types import SimpleNamespace

import pytest
import torch

from anitalker.config import InputError
from anitalker.faces.landmarks import from_canonical
from scripts.training.losses import LandmarkFlow, _open, feature_network, photometric


def test_flow_that_points_to_the_source_landmarks_costs_nothing(face):
    poses = torch.tensor([[0, 0, 0, 0, 0, -0.5], [0, 0, 0, 0.05, -0.02, -0.5]])
    marks = from_canonical(face.expand(2, -1, -1), poses)
    source, target = marks[:1], marks[1:]
    axis = (torch.arange(64) + 0.5) / 64
    here = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])[None]
    there = here + torch.tensor([-0.05, 0.02]).view(1, 2, 1, 1)
    loss = LandmarkFlow(face, half_life=100)
    pairs = SimpleNamespace(landmarks_a=source, landmarks_b=target, codes_a=poses[:1], codes_b=poses[1:])
    assert loss(there, pairs).item() < 0.05
    still = loss(here, pairs).item()
    assert still == pytest.approx(100 * math.hypot(0.05, 0.02) / math.exp(-0.5), rel=0.02)
    assert loss.strength(0) == 1 and loss.strength(100) == 0.5


def test_points_that_face_away_and_shut_lips_weigh_nothing(face):
    loss = LandmarkFlow(face, 100)
    turned = loss._seen(torch.tensor([[0.7, 0, 0, 0, 0, 0.0], [-0.7, 0, 0, 0, 0, 0.0], [0.0] * 6]))
    right, left = 234, 454  # cheeks
    assert turned[2, [1, 13, 33, 263]].min() == 1
    assert {turned[0, right].item(), turned[0, left].item()} == {0.0, 1.0} and turned[1, right] != turned[0, right]
    shut = face.clone()
    shut[14] = shut[13]
    assert _open(shut[None])[0, [13, 14]].max() == 0 and _open(shut[None])[0, 1] == 1


def test_coarse_scales_forgive_what_has_moved_a_pixel():
    true = (torch.arange(32) % 2).float().mul(2).sub(1).expand(1, 3, 32, 32)
    moved, weight = true.roll(1, 3), torch.ones(1, 1, 32, 32)
    assert photometric(moved, true, weight, 1) == 2 and photometric(moved, true, weight, 2) == 1


@pytest.mark.slow
def test_feature_network_that_is_none_is_named(tmp_path):
    assert feature_network("none") is None
    with pytest.raises(InputError, match=r"'nowhere.npz' is no file; give vgg19, none, or a file"):
        feature_network("nowhere.npz")
    broken = tmp_path / "vgg.pth"
    broken.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"vgg.pth is no state dict of VGG19 .*; give --perceptual-network"):
        feature_network(str(broken))
