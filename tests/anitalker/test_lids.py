"""Lids: no flow where nothing moves; shut lids hide the eye whole; half shut they cover it and do not squeeze it."""

import torch

from anitalker.landmarks import LEFT_EYE, LEFT_LID_PAIRS, RIGHT_EYE, RIGHT_LID_PAIRS, draw, from_canonical
from anitalker.lids import lid_flow
from anitalker.warp import warp

PAIRS = RIGHT_LID_PAIRS + LEFT_LID_PAIRS


def placed(face):
    return from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))


def shut(points, part):
    """The upper lids come down by a part of the opening."""
    moved = points.clone()
    for upper, lower in PAIRS:
        moved[:, upper] += part * (points[:, lower] - points[:, upper])
    return moved


def flow_of(source, target, size=256):
    return lid_flow(torch.stack([source, target], 1), torch.zeros(1, 2, size, size))


def eyes(points, size=256):
    return draw(points, (RIGHT_EYE, LEFT_EYE), size).sum(1, keepdim=True)


def test_the_same_lids_are_no_flow(face):
    assert flow_of(placed(face), placed(face)).abs().max() < 1e-5


def test_shut_lids_hide_the_eye(face):
    source = placed(face)
    for size in (256, 600):
        inside = (eyes(source, size) > 0.99).float()
        flow = flow_of(source, shut(source, 0.97), size)
        assert inside.sum() > 50
        assert warp(inside, flow).sum() < 0.05 * inside.sum()


def test_half_shut_lids_cover_and_do_not_squeeze(face):
    source = placed(face)
    flow = flow_of(source, shut(source, 0.5))
    x, y = ((source[0, 159] + source[0, 145]) / 2)[:2] * 256
    low = int(y + 0.25 * (source[0, 145, 1] - source[0, 159, 1]) * 256)  # in the lower half: seen as it was
    assert flow[0, :, low, int(x)].abs().max() < 1e-3
    assert warp(eyes(source), flow).sum() < 0.75 * eyes(source).sum()


def test_eyes_follow_the_head_and_nothing_else_changes(face):
    source = placed(face)
    target = source + torch.tensor([0.03, -0.02, 0.0])
    flow = flow_of(source, target)
    x, y = (target[0, [33, 133], :2].mean(0) * 256).int().tolist()
    assert torch.allclose(flow[0, :, y, x], torch.tensor([-0.03, 0.02]), atol=1e-4)
    chin = int(target[0, 152, 1] * 256)
    assert flow[0, :, chin - 20 :].abs().max() == 0


def test_a_batch_is_its_frames(face):
    source = placed(face).expand(2, -1, -1)
    target = torch.cat([shut(placed(face), 0.3), shut(placed(face), 0.9) + torch.tensor([0.05, 0.05, 0])])
    together = lid_flow(torch.stack([source, target], 1), torch.zeros(2, 2, 128, 128))
    pairs = zip(source, target, strict=True)
    apart = torch.cat([lid_flow(torch.stack(pair)[None], torch.zeros(1, 2, 128, 128)) for pair in pairs])
    assert (together - apart).abs().max() < 1e-6
