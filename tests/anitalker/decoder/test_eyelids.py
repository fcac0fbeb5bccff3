"""Lids: nothing changes where nothing moves; shut lids hide the eye; half shut they cover, they do not squeeze it."""

import torch

from anitalker.decoder import eyelids
from anitalker.decoder.eyelids import warp_eyelids
from anitalker.faces.landmarks import LEFT_EYE, LEFT_LID_PAIRS, RIGHT_EYE, RIGHT_LID_PAIRS, from_canonical, rasterise

PAIRS = RIGHT_LID_PAIRS + LEFT_LID_PAIRS


def placed(face):
    return from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))


def shut(points, part):
    """The upper lids come down by a part of the opening."""
    moved = points.clone()
    for upper, lower in PAIRS:
        moved[:, upper] += part * (points[:, lower] - points[:, upper])
    return moved


def eyes(points, size=256):
    """1 in the eyes, 0 elsewhere: [1,1,size,size]."""
    return rasterise(points, (RIGHT_EYE, LEFT_EYE), size).sum(1, keepdim=True)


def slid(picture, source, target):
    return warp_eyelids(picture, picture, torch.stack([source, target], 1))


def test_the_same_lids_change_nothing(face):
    y, x = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 256), indexing="ij")
    picture = torch.stack([x, y, x * y])[None]
    assert (slid(picture, placed(face), placed(face)) - picture).abs().max() < 1e-3


def test_shut_lids_hide_the_eye(face):
    source = placed(face)
    for size in (256, 600):
        inside = (eyes(source, size) > 0.99).float()
        assert inside.sum() > 50
        assert slid(inside, source, shut(source, 0.97)).sum() < 0.05 * inside.sum()


def test_half_shut_lids_cover_and_do_not_squeeze(face):
    source = placed(face)
    height = torch.linspace(-1, 1, 256)[:, None].expand(1, 1, 256, 256)
    picture = height * (eyes(source) > 0.99)  # inside the eyes every row has its own colour
    made = slid(picture, source, shut(source, 0.5))
    x, y = ((source[0, 159] + source[0, 145]) / 2)[:2] * 256
    low = int(y + 0.25 * (source[0, 145, 1] - source[0, 159, 1]) * 256)  # in the lower half: seen as it was
    assert (made - picture)[0, 0, low, int(x)].abs() < 0.01 and picture[0, 0, low, int(x)] != 0
    assert slid(eyes(source), source, shut(source, 0.5)).sum() < 0.75 * eyes(source).sum()


def test_eyes_follow_the_head_and_nothing_else_changes(face):
    source = placed(face)
    target = source + torch.tensor([0.03, -0.02, 0.0])
    made = slid(eyes(source), source, target)
    there = eyes(target) > 0.99
    assert made[there].mean() > 0.97 and made[there].min() > 0.5
    chin = int(target[0, 152, 1] * 256)
    assert (made - eyes(source))[0, :, chin - 20 :].abs().max() == 0


def test_a_hair_more_is_a_hair_more(face):
    """No pixel flips at a lid's edge: rounding on another device or in another batch stays rounding."""
    source, picture = placed(face), torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    for part in (0.2, 0.8, 0.97):
        one, other = (slid(picture, source, shut(source, part + more)) for more in (0.0, 1e-6))
        assert (one - other).abs().max() < 1e-3


def test_a_batch_is_its_frames(face):
    source = placed(face).expand(2, -1, -1)
    target = torch.cat([shut(placed(face), 0.3), shut(placed(face), 0.9) + torch.tensor([0.05, 0.05, 0])])
    picture = torch.rand(2, 3, 128, 128)
    apart = torch.cat([slid(picture[k : k + 1], source[:1], target[k : k + 1]) for k in range(2)])
    assert (slid(picture, source, target) - apart).abs().max() < 1e-5


def test_what_is_kept_from_a_rendering_serves_a_training(face):
    eyelids._places.cache_clear()
    picture, source = torch.rand(1, 3, 32, 32), placed(face)
    with torch.inference_mode():
        slid(picture, source, shut(source, 0.5))
    target = shut(source, 0.5).requires_grad_()
    slid(picture, source, target).sum().backward()
    assert target.grad.abs().sum() > 0
