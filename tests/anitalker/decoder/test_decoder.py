"""Decoder: shapes, masks whose sum is one, the portrait at any resolution, batches, gradients."""

import pytest
import torch

from anitalker.decoder.composition import compose
from anitalker.decoder.decoder import Decoder, Layers, _smooth, _Window
from anitalker.faces.landmarks import from_canonical
from anitalker.network_config import DecoderConfig

SMALL = DecoderConfig(channels=(8, 8, 16, 16))


def prepared(face, decoder):
    torch.manual_seed(0)
    placed = from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))
    motion = torch.zeros(1, 20)
    return decoder.prepare(torch.rand(1, 3, 256, 256) * 2 - 1, placed, motion, torch.randn(1, 256)), placed


def test_layers_have_their_shapes_and_masks_add_up(face):
    decoder = Decoder(SMALL).eval()
    ready, placed = prepared(face, decoder)
    layers = decoder.layers(ready, placed.expand(3, -1, -1), torch.randn(3, 20))
    assert layers.flow.shape == (3, 2, 256, 256) and layers.synthesised.shape == (3, 3, 256, 256)
    assert torch.allclose(layers.masks.sum(1), torch.ones(3, 256, 256), atol=1e-5)


def test_batch_of_three_is_three_batches_of_one(face):
    decoder = Decoder(SMALL).eval()
    ready, placed = prepared(face, decoder)
    moved = placed + torch.tensor([0.0, 0.01, 0.0])
    motion = torch.randn(3, 20) * 0.1
    together = compose(ready.picture, decoder.layers(ready, moved.expand(3, -1, -1), motion))
    separate = torch.cat([compose(ready.picture, decoder.layers(ready, moved, m[None])) for m in motion])
    assert (together - separate).abs().max() < 2 / 255 / 2


def test_compose_keeps_the_pictures_own_pixels_at_any_resolution():
    big = torch.rand(1, 3, 500, 700) * 2 - 1
    rest = Layers(torch.zeros(1, 2, 256, 256), torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256))
    rest.masks[:, 0] = 1
    assert (compose(big, rest) - big).abs().max() < 1e-6  # masks are interpolated: one unit in the last place
    still = Layers(rest.flow, rest.masks.roll(1, 1), rest.synthesised)  # the warped layer, with no flow
    assert (compose(big, still) - big).abs().max() < 1e-4


def test_gradient_reaches_every_parameter(face):
    decoder = Decoder(SMALL)
    ready, placed = prepared(face, decoder)
    layers = decoder.layers(ready, placed + torch.randn_like(placed) * 1e-2, torch.randn(1, 20))
    (compose(ready.picture, layers) - torch.rand(1, 3, 256, 256)).square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_state_dict_names_are_frozen():
    names = set(Decoder(DecoderConfig()).state_dict())
    assert {"entry.weight", "down.0.first.weight", "modulate.weight", "middle.second.bias", "exit.weight"} <= names
    assert {"narrow.2.weight", "up.0.norm.weight"} <= names and len(names) == 54


def test_an_opening_mouth_is_synthesised_and_one_that_was_open_keeps_its_own_pixels(face):
    torch.manual_seed(0)
    decoder = Decoder(SMALL).eval()
    shut = from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))
    middle = (
        shut[:, [13, 82, 81, 80, 191, 312, 311, 310, 415]] + shut[:, [14, 87, 178, 88, 95, 317, 402, 318, 324]]
    ) / 2
    shut[:, [13, 82, 81, 80, 191, 312, 311, 310, 415]] = middle
    shut[:, [14, 87, 178, 88, 95, 317, 402, 318, 324]] = middle
    opened = shut.clone()
    opened[:, [14, 87, 178, 88, 95, 317, 402, 318, 324], 1] += 0.06
    x, y = ((opened[0, 13] + opened[0, 14])[:2] * 128).long().tolist()
    shares = []
    for portrait in (shut, opened):
        ready = decoder.prepare(torch.zeros(1, 3, 256, 256), portrait, torch.zeros(1, 20), torch.zeros(1, 256))
        shares.append(decoder.layers(ready, opened, torch.zeros(1, 20)).masks[0, 2, y, x].item())
    assert shares[0] > 0.9 and shares[0] > shares[1] + 0.1


def test_the_first_convolution_is_the_sum_of_its_two_parts(face):
    """The portrait's channels are convolved once; the weights are those of one convolution over all channels."""
    decoder = Decoder(SMALL).eval()
    ready, _ = prepared(face, decoder)
    frame = torch.randn(2, 12 + 3 + 4, 128, 128)
    blocks = torch.nn.functional.pixel_unshuffle(ready.picture, 2)
    x = [frame[:, :12], blocks.expand(2, -1, -1, -1), frame[:, 12:], ready.contours.expand(2, -1, -1, -1)]
    torch.testing.assert_close(decoder._project(frame, ready.projection), decoder.entry(torch.cat(x, 1)))


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.3, -0.25), (0.0, 0.55), (2.0, 2.0)])
def test_lips_are_drawn_in_their_window_as_in_the_whole_picture(face, monkeypatch, place):
    """Also where the picture cuts the mouth, or has none."""
    decoder = Decoder(SMALL).eval()
    ready, placed = prepared(face, decoder)
    target = placed + torch.tensor([*place, 0.0])
    target[:, [14, 87, 178, 88, 95, 317, 402, 318, 324], 1] += 0.05
    motion, flow = torch.zeros(1, 20), torch.zeros(1, 2, 96, 96)
    inside = decoder.refine(ready, target, motion, flow)
    monkeypatch.setattr(
        _Window, "__init__", lambda window, _, size: vars(window).update(size=size, spans=2 * [(0, size)])
    )
    whole = decoder.refine(ready, target, motion, flow)
    for name in ("flow", "masks", "synthesised"):
        torch.testing.assert_close(getattr(inside, name), getattr(whole, name), atol=1e-5, rtol=0)


def test_weights_kept_in_bfloat16_equal_autocast_and_follow_changes():
    decoder = Decoder(SMALL).eval().requires_grad_(False)
    inputs = torch.randn(2, 19, 128, 128), torch.randn(1, 8, 128, 128), torch.randn(2, 296)

    def both():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return decoder._unet(*inputs), decoder._network(*inputs)

    kept, first = both()
    assert torch.equal(kept, first)
    decoder.exit.weight.mul_(100)
    kept, changed = both()
    assert torch.equal(kept, changed) and not torch.equal(changed, first)
    decoder.load_state_dict(Decoder(SMALL).state_dict())
    assert torch.equal(*both()) and len(decoder.state_dict()) == 54


def test_training_works_after_a_rendering_in_bfloat16():
    decoder = Decoder(SMALL)
    x, projection, codes = torch.randn(1, 19, 128, 128), torch.randn(1, 8, 128, 128), torch.randn(1, 296)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            decoder._unet(x, projection, codes)
        decoder._unet(x, projection, codes).float().square().mean().backward()
    assert decoder.entry.weight.grad.abs().sum() > 0


def test_smoothing_is_the_binomial_filter():
    fields, tap = torch.rand(2, 6, 20, 30), torch.tensor([0.25, 0.5, 0.25])
    padded = torch.nn.functional.pad(fields, (1, 1, 1, 1), "replicate")
    wanted = torch.nn.functional.conv2d(padded, torch.outer(tap, tap).expand(6, 1, 3, 3), groups=6)
    torch.testing.assert_close(_smooth(fields), wanted)
