"""Detail follows the flow: what rests is equal to the bit, what moves stays as sharp, synthesised parts have none."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anitalker.decoder.decoder import Layers, compose
from anitalker.decoder.detail import (
    _sliding_reduce,
    blur,
    box_mean,
    draw_frames,
    laplacian,
    motion_mask,
    prepare_detail,
)


@pytest.fixture
def source():
    """A grainy crop of 300 pixels."""
    torch.manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.randn(1, 3, 20, 20) * 0.3, size=(300, 300), mode="bilinear")
    return (coarse + 0.1 * blur(torch.randn(1, 1, 300, 300))).clamp(-1, 1)


def layers(shift=0.0, rest=0.3, synthesised=0.0, where=slice(64, 192)):
    """Half a pixel of flow and more inside a square of the decoder's 256 pixels; nothing elsewhere."""
    flow, masks = torch.zeros(1, 2, 256, 256), torch.zeros(1, 3, 256, 256)
    flow[:, 0, where, where] = shift / 256
    masks[:, 2, where, where] = synthesised
    masks[:, 0] = rest * (1 - masks[:, 2])
    masks[:, 1] = 1 - masks[:, 0] - masks[:, 2]
    return Layers(flow, masks, torch.full((1, 3, 256, 256), 0.5))


def sharpness(frame):
    """Variance of the Laplacian in the middle of the square."""
    return float(laplacian(frame.mean(1, keepdim=True))[:, :, 110:190, 110:190].var())


def test_what_rests_is_the_portrait_to_the_bit(source):
    assert torch.equal(draw_frames(prepare_detail(source), layers()), source)
    moved = draw_frames(prepare_detail(source), layers(shift=4.4))
    far = torch.ones(300, 300, dtype=bool)
    far[60:240, 60:240] = False
    assert torch.equal(moved[..., far], source[..., far])
    assert (moved - source)[:, :, 110:190, 110:190].abs().mean() > 0.01


@pytest.mark.parametrize("shift", [4.43, 2.9, 7.2])
def test_what_moves_stays_sharp(source, shift):
    """Two blended layers between pixels lose most of the grain; carried detail keeps at least 85%."""
    many = layers(shift=shift)
    assert sharpness(compose(source, many)) < 0.6 * sharpness(source)
    assert 0.85 < sharpness(draw_frames(prepare_detail(source), many)) / sharpness(source) < 1.25


def test_synthesised_parts_have_no_grain_of_the_portrait(source):
    frame = draw_frames(prepare_detail(source), layers(shift=4.4, synthesised=1.0))
    assert sharpness(frame) < 0.02 * sharpness(source)
    assert frame[:, :, 150, 150].mean() == pytest.approx(0.5, abs=0.02)


def test_the_mask_follows_what_moves():
    left, right = (
        motion_mask(layers(3.0, where=where), (300, 300))[0, 0] for where in (slice(20, 90), slice(150, 220))
    )
    assert left[60, 60] == 1 and left[200, 200] == 0 and right[200, 200] == 1 and right[60, 60] == 0
    steps = np.abs(np.diff(left[60].numpy()))
    assert 0 < steps.max() < 0.35  # a soft edge


def test_batch_does_not_matter(source):
    first, second = layers(3.3), layers(-2.1, synthesised=0.2)
    both = Layers(
        *(torch.cat(pair) for pair in zip(list(vars(first).values())[:3], list(vars(second).values())[:3], strict=True))
    )
    together = draw_frames(prepare_detail(source), both)
    torch.testing.assert_close(together[:1], draw_frames(prepare_detail(source), first))
    torch.testing.assert_close(together[1:], draw_frames(prepare_detail(source), second))


def test_small_helpers():
    flat = torch.full((1, 1, 12, 12), 0.7)
    for filtered in (blur(flat), box_mean(flat, 5)):
        torch.testing.assert_close(filtered, flat)
    assert laplacian(flat).abs().max() < 1e-6


@pytest.mark.parametrize("side", [3, 7, 9])
def test_windows_are_torchs_pools(side):
    """Sums and maxima of windows by doubling equal those of torch's slower pools, at borders too."""
    field, half = torch.rand(2, 1, 20, 33), side // 2
    torch.testing.assert_close(box_mean(field, side), F.avg_pool2d(field, side, 1, half, count_include_pad=False))
    wide = _sliding_reduce(_sliding_reduce(F.pad(field, (half,) * 4), side, 2, torch.maximum), side, 3, torch.maximum)
    assert torch.equal(wide, F.max_pool2d(field, side, 1, half))
