"""Lids: no motion changes nothing; shut lids hide the eye; half-shut lids cover it without squeezing it."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anitalker.decoder import eyelids
from anitalker.decoder.eyelids import warp_eyelids
from anitalker.decoder.viewport import Viewport
from anitalker.faces.landmarks import LEFT_EYE, LEFT_LID_PAIRS, RIGHT_EYE, RIGHT_LID_PAIRS, from_canonical, rasterise

PAIRS = RIGHT_LID_PAIRS + LEFT_LID_PAIRS


def placed(face):
    return from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))


def shut(points, share):
    """The upper lids come down by a share of the opening."""
    moved = points.clone()
    for upper, lower in PAIRS:
        moved[:, upper] += share * (points[:, lower] - points[:, upper])
    return moved


def eyes(points, size=256):
    """1 in the eyes, 0 elsewhere: [1,1,size,size]."""
    return rasterise(points, (RIGHT_EYE, LEFT_EYE), size).sum(1, keepdim=True)


def warp_lids(picture, source, target):
    return warp_eyelids(picture, picture, torch.stack([source, target], 1))


def test_the_same_lids_change_nothing(face):
    y, x = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 256), indexing="ij")
    picture = torch.stack([x, y, x * y])[None]
    assert (warp_lids(picture, placed(face), placed(face)) - picture).abs().max() < 1e-3


def test_shut_lids_hide_the_eye(face):
    source = placed(face)
    for size in (256, 600):
        inside = (eyes(source, size) > 0.99).float()
        assert inside.sum() > 50
        assert warp_lids(inside, source, shut(source, 0.97)).sum() < 0.05 * inside.sum()


def test_half_shut_lids_cover_and_do_not_squeeze(face):
    source = placed(face)
    height = torch.linspace(-1, 1, 256)[:, None].expand(1, 1, 256, 256)
    picture = height * (eyes(source) > 0.99)  # inside the eyes every row has its own colour
    result = warp_lids(picture, source, shut(source, 0.5))
    x, y = ((source[0, 159] + source[0, 145]) / 2)[:2] * 256
    low = int(y + 0.25 * (source[0, 145, 1] - source[0, 159, 1]) * 256)  # in the lower half: seen as it was
    assert (result - picture)[0, 0, low, int(x)].abs() < 0.01 and picture[0, 0, low, int(x)] != 0
    assert warp_lids(eyes(source), source, shut(source, 0.5)).sum() < 0.75 * eyes(source).sum()


def test_eyes_follow_the_head_and_nothing_else_changes(face):
    source = placed(face)
    target = source + torch.tensor([0.03, -0.02, 0.0])
    result = warp_lids(eyes(source), source, target)
    there = eyes(target) > 0.99
    assert result[there].mean() > 0.97 and result[there].min() > 0.5
    chin = int(target[0, 152, 1] * 256)
    assert (result - eyes(source))[0, :, chin - 20 :].abs().max() == 0


def test_small_changes_have_small_effects(face):
    """No pixel flips at a lid's edge: rounding on another device or in another batch stays rounding."""
    source, picture = placed(face), torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    for share in (0.2, 0.8, 0.97):
        exact, nudged = (warp_lids(picture, source, shut(source, share + more)) for more in (0.0, 1e-6))
        assert (exact - nudged).abs().max() < 1e-3


def test_a_batch_is_its_frames(face):
    source = placed(face).expand(2, -1, -1)
    target = torch.cat([shut(placed(face), 0.3), shut(placed(face), 0.9) + torch.tensor([0.05, 0.05, 0])])
    picture = torch.rand(2, 3, 128, 128)
    separate = torch.cat([warp_lids(picture[k : k + 1], source[:1], target[k : k + 1]) for k in range(2)])
    assert (warp_lids(picture, source, target) - separate).abs().max() < 1e-5


@pytest.mark.parametrize("viewport", [Viewport.whole(256, 256), Viewport(90, 130, 800, 700, (900, 1000))])
def test_numpy_gives_what_torch_gives(face, viewport):
    source = placed(face).expand(2, -1, -1)
    target = torch.cat([shut(placed(face), 0.3), shut(placed(face), 0.9) + torch.tensor([0.05, 0.05, 0])])
    pair = torch.stack([source, target], 1)
    tensors, arrays = (eyelids.eyelid_samples(x, viewport) for x in (pair, pair.numpy()))
    assert (tensors.tops, tensors.lefts) == (arrays.tops, arrays.lefts)
    for name in ("grid", "shares", "weight"):
        tensor, array = getattr(tensors, name), getattr(arrays, name)
        assert isinstance(tensor, torch.Tensor) and isinstance(array, np.ndarray)
        assert np.abs(tensor.numpy() - array).max() < (1e-5 if name == "grid" else 1e-3)


def test_caches_of_a_rendering_serve_training(face):
    eyelids._lid_indices.cache_clear()
    picture, source = torch.rand(1, 3, 32, 32), placed(face)
    with torch.inference_mode():
        warp_lids(picture, source, shut(source, 0.5))
    target = shut(source, 0.5).requires_grad_()
    warp_lids(picture, source, target).sum().backward()
    assert target.grad.abs().sum() > 0


def test_large_eyes_are_computed_coarsely_and_look_the_same(face, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    picture = F.interpolate(torch.rand(1, 3, 90, 90, generator=rng), size=(1800, 1800), mode="bicubic")
    source = placed(face)
    coarse = warp_lids(picture, source, shut(source, 0.6))
    assert (coarse - picture).abs().max() > 0.3
    monkeypatch.setattr(eyelids, "MAX_SIDE", 10_000)
    difference = (coarse - warp_lids(picture, source, shut(source, 0.6))).abs()
    changed = (coarse != picture).any(1)[0]
    assert 0 < difference[..., changed].mean() < 0.3 / 255 and difference.max() < 0.15  # the most at the lids' edges
