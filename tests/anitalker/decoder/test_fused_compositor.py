"""The pass over 8-bit pixels draws what the reference draws, within one level of 255."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from anitalker.decoder import compositor
from anitalker.decoder.composition import compose_finely
from anitalker.decoder.decoder import Layers
from anitalker.decoder.detail import prepare_detail
from anitalker.decoder.fused_compositor import FusedCompositor
from anitalker.decoder.iris_shift import Irises, Look
from anitalker.decoder.mouth_layer import MouthLayer
from anitalker.decoder.mouth_patch import place_patch
from anitalker.decoder.viewport import Viewport
from anitalker.faces.landmarks import from_canonical
from anitalker.faces.paste import paste_all
from anitalker.runtime.transfer import to_pictures


def picture(height, width, seed=0):
    """Smooth patches of colour with edges, and a little grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    smooth[height // 3 :, width // 2 :] = smooth[height // 3 :, width // 2 :] // 2 + 90
    return (smooth + rng.integers(-3, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


def random_layers(face, seed=0, strength=0.04, mouth=True, lids=True):
    """Layers that move, fold, synthesise and blink everywhere; at some places nothing does."""
    rng = torch.Generator().manual_seed(seed)
    fields = F.interpolate(torch.randn(1, 8, 12, 12, generator=rng), size=(256, 256), mode="bicubic")
    flow, masks = strength * fields[:, :2], (4 * fields[:, 2:5]).softmax(1)
    calm = (fields[:, :1] > 0.7).float()
    flow, masks = flow * (1 - calm), torch.cat([masks[:, :2], masks[:, 2:] * (1 - calm)], 1)
    masks = masks / masks.sum(1, keepdim=True)
    points = from_canonical(face[None], torch.tensor([[0.1, 0, 0.15, 0, 0, -0.6]]))
    moved = points + 0.01 * torch.randn(points.shape, generator=rng)
    pair = torch.stack([points, moved], 1)[..., :2]
    change = F.interpolate(torch.randn(1, 4, 16, 16, generator=rng), size=(128, 128), mode="bicubic")
    fade = (torch.minimum(torch.arange(128), torch.arange(127, -1, -1)) / 10).clamp(max=1)
    change = torch.cat([0.4 * change[:, :3], change[:, 3:].sigmoid() * fade[:, None] * fade], 1)
    layer = MouthLayer(change, place_patch(moved), 0.02 * torch.randn(1, 2, 48, 48, generator=rng))
    return Layers(flow, masks, fields[:, 5:].tanh(), pair if lids else None, layer if mouth else None)


def drawn(pixels, viewport, layers):
    """The frame of the fused compositor, over the whole viewport."""
    return paste_all(pixels, [FusedCompositor(prepare_detail(pixels, viewport)).draw(layers)])


WHOLE = [(256, 256), (237, 237), (511, 511), (700, 700)]
PARTS = [
    Viewport(0, 40, 300, 260, (300, 300)),
    Viewport(130, 90, 700, 500, (900, 900)),
    Viewport(9, 0, 40, 64, (64, 64)),
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("size", WHOLE)
def test_frames_equal_the_references(face, size, seed):
    pixels, layers = picture(*size, seed), random_layers(face, seed)
    compare(pixels, Viewport.whole(*size), layers)


@pytest.mark.parametrize("viewport", PARTS)
@pytest.mark.parametrize(("mouth", "lids"), [(True, True), (False, False)])
def test_parts_of_a_crop_equal_the_references(face, viewport, mouth, lids):
    pixels = picture(viewport.height, viewport.width)
    compare(pixels, viewport, random_layers(face, 3, 0.1, mouth, lids))


def test_irises_out_of_their_places_equal_the_references(face):
    centre = torch.tensor([[[0.5, -0.05], [0.5, -0.05]]])
    place = centre + torch.tensor([[[0.08, 0.03], [-0.05, 0.06]]])
    irises = Irises(centre, torch.full((1, 2), 0.2), place, torch.ones(1), torch.full((1, 2), -0.02))
    pixels, layers = picture(700, 700, 4), random_layers(face, 4, 0.02)
    still = drawn(pixels, None, layers).astype(int)
    layers = replace(layers, look=Look(irises, torch.ones(1, 1, 256, 256)))
    compare(pixels, Viewport.whole(700, 700), layers)
    assert np.abs(drawn(pixels, None, layers) - still).max() > 30


def compare(pixels, viewport, layers):
    reference = to_pictures(compose_finely(prepare_detail(pixels, viewport).to("cpu"), layers))[0]
    frame = drawn(pixels, viewport, layers)
    difference = np.abs(frame.astype(int) - reference)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.2
    assert (frame != pixels).any(-1).mean() > 0.3


def test_only_what_changes_is_drawn(face):
    pixels, layers = picture(400, 400), random_layers(face, mouth=False, lids=False)
    inside = torch.zeros(256, 256)
    inside[60:100, 150:190] = 1
    masks = torch.cat([1 - layers.masks[:, 1:].sum(1, keepdim=True) * inside, layers.masks[:, 1:] * inside], 1)
    moved = Layers(layers.flow * inside, masks, layers.synthesised)
    patch = FusedCompositor(prepare_detail(pixels)).draw(moved)
    assert 75 < patch.top < 94 and 215 < patch.left < 235 and max(patch.pixels.shape) < 90
    rest = Layers(layers.flow * 0, torch.cat([torch.ones(1, 1, 256, 256), torch.zeros(1, 2, 256, 256)], 1), layers.flow)
    assert FusedCompositor(prepare_detail(pixels)).draw(rest).pixels.size == 0


@pytest.mark.parametrize("fused", [True, False])
def test_a_compositor_draws_frame_by_frame(face, fused, monkeypatch):
    monkeypatch.setattr(compositor, "MAX_COMPOSED_PIXELS", 2 * 200 * 200)
    pixels, many = picture(200, 200), [random_layers(face, seed) for seed in range(3)]
    patches = list(compositor.Compositor(pixels, fused=fused).frames(Layers.join(many)))
    assert len(patches) == 3
    for patch, layers in zip(patches, many, strict=True):
        expected = drawn(pixels, None, layers).astype(int)
        assert np.abs(paste_all(pixels, [patch]) - expected).max() <= 1
