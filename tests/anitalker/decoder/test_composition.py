"""Detail follows the flow: what rests is equal to the bit, what moves stays as sharp, synthesised parts have none."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anitalker.decoder import decoder
from anitalker.decoder.composition import compose, compose_finely, motion_mask
from anitalker.decoder.decoder import Layers
from anitalker.decoder.detail import prepare_detail
from anitalker.runtime.transfer import to_pictures, to_tensor

SIDE = 300


@pytest.fixture
def pixels():
    """A grainy crop."""
    rng = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.randn(1, 3, 20, 20, generator=rng) * 0.3, size=(SIDE, SIDE), mode="bilinear")
    grain = cv2.GaussianBlur(torch.randn(SIDE, SIDE, generator=rng).numpy(), (5, 5), 1.0)
    return to_pictures((coarse + 0.3 * torch.from_numpy(grain)).clamp(-1, 1))[0]


def layers(shift=0.0, rest=0.3, synthesised=0.0, where=slice(64, 192)):
    """Half a pixel of flow and more inside a square of the decoder's 256 pixels; nothing elsewhere."""
    flow, masks = torch.zeros(1, 2, 256, 256), torch.zeros(1, 3, 256, 256)
    flow[:, 0, where, where] = shift / 256
    masks[:, 2, where, where] = synthesised
    masks[:, 0] = rest * (1 - masks[:, 2])
    masks[:, 1] = 1 - masks[:, 0] - masks[:, 2]
    return Layers(flow, masks, torch.full((1, 3, 256, 256), 0.5))


def composed(pixels, many):
    return compose_finely(prepare_detail(pixels).to("cpu"), many)


def sharpness(frame):
    """Variance of the Laplacian in the middle of the square."""
    grey = frame.mean(1)[0]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return float(laplacian[110:190, 110:190].var())


def test_what_rests_is_the_portrait_to_the_bit(pixels):
    source = to_tensor(pixels)
    assert torch.equal(composed(pixels, layers()), source)
    moved = composed(pixels, layers(shift=4.4))
    far = torch.ones(SIDE, SIDE, dtype=bool)
    far[60:240, 60:240] = False
    assert torch.equal(moved[..., far], source[..., far])
    assert (moved - source)[:, :, 110:190, 110:190].abs().mean() > 0.01


@pytest.mark.parametrize("shift", [4.43, 2.9, 7.2])
def test_what_moves_stays_sharp(pixels, shift):
    """Two blended layers between pixels lose most of the grain; carried detail keeps at least 85%."""
    many, source = layers(shift=shift), to_tensor(pixels)
    assert sharpness(compose(source, many)) < 0.6 * sharpness(source)
    assert 0.85 < sharpness(composed(pixels, many)) / sharpness(source) < 1.25


def test_synthesised_parts_have_no_grain_of_the_portrait(pixels):
    frame = composed(pixels, layers(shift=4.4, synthesised=1.0))
    assert sharpness(frame) < 0.02 * sharpness(to_tensor(pixels))
    assert frame[:, :, 150, 150].mean() == pytest.approx(0.5, abs=0.02)


def test_the_mask_follows_what_moves():
    left, right = (motion_mask(layers(3.0, where=where))[0, 0] for where in (slice(20, 80), slice(150, 220)))
    assert left[50, 50] == 1 and left[180, 180] == 0 and right[180, 180] == 1 and right[50, 50] == 0
    steps = np.abs(np.diff(left[50].numpy()))
    assert 0 < steps.max() < 0.35  # a soft edge


def test_frames_fade_into_the_portrait_at_the_crops_border(pixels):
    moved = composed(pixels, layers(shift=6.0, where=slice(0, 256)))
    change = (moved - to_tensor(pixels)).abs().mean(1)[0]
    assert change[0].max() == 0 and change[:, -1].max() == 0
    assert 0 < change[:, 6].mean() < 0.5 * change[:, 40].mean()


def test_batch_does_not_matter(pixels):
    first, second = layers(3.3), layers(-2.1, synthesised=0.2)
    together = composed(pixels, Layers.join([first, second]))
    torch.testing.assert_close(together[:1], composed(pixels, first))
    torch.testing.assert_close(together[1:], composed(pixels, second))


def test_masks_and_filters_with_a_gradient_are_the_same():
    """OpenCV filters where there is none."""
    plain = layers(3.0, synthesised=0.4, where=slice(20, 80))
    learned = Layers(plain.flow.clone().requires_grad_(), plain.masks, plain.synthesised)
    assert motion_mask(learned).requires_grad
    torch.testing.assert_close(motion_mask(learned), motion_mask(plain), atol=1e-6, rtol=0)
    assert torch.equal(motion_mask(learned) == 0, motion_mask(plain) == 0)
    fields = torch.rand(2, 3, 20, 30)
    torch.testing.assert_close(decoder._smooth(fields.clone().requires_grad_()), decoder._smooth(fields))
