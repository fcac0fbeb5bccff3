"""The original's decoder: the fast form against the plain one, batches, dtypes, sampling."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anitalker.network_config import StageOneConfig, from_dict, to_dict
from anitalker.original.styled_decoder import StyledDecoder, _sample

TINY = StageOneConfig(size=32, style=16, motion=4, channels=(16, 16, 12, 8))
TAP = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 16


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    decoder = StyledDecoder(TINY).eval().requires_grad_(False)
    for name, parameter in decoder.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, float("modulation" in name), 0.1)
    for flow in decoder.to_flows:
        flow.conv.weight *= 0.3
    return decoder


@pytest.fixture
def portrait():
    """Image code and smooth skips."""
    torch.manual_seed(1)
    rough = [
        (torch.randn(1, channels, 4, 4), (n, n)) for channels, n in zip(TINY.channels[1:], (8, 16, 32), strict=True)
    ]
    return torch.randn(1, 16), tuple(F.interpolate(skip, size, mode="bicubic") for skip, size in rough)


@pytest.fixture
def drawn(decoder, portrait):
    constants = decoder.constants()
    ready = decoder.prepare(constants, *portrait)
    return lambda motion: decoder.draw(constants, ready, motion)


def fir(x, before, after):
    return F.conv2d(F.pad(x, (before, after, before, after)), TAP.expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


def plain_decoder(decoder, image_code, skips, motion):
    """One frame and its flows, step by step as published: modulated weights, full skips, nothing precomputed."""
    q = torch.from_numpy(np.linalg.qr(decoder.direction.weight.numpy() + 1e-8)[0])
    latent = image_code + motion @ q.T

    def weight(conv, demodulate):
        style = F.linear(latent, conv.modulation.weight / 4, conv.modulation.bias)  # 4 = sqrt of 16
        w = conv.weight[0] / math.sqrt(conv.weight[0, 0].numel()) * style.view(1, -1, 1, 1)
        return w * (w.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt() if demodulate else w

    def act(x, bias):
        return F.leaky_relu(x + bias, 0.2) * math.sqrt(2)

    def spread(x):
        out = x.new_zeros(1, x.shape[1], 2 * x.shape[2], 2 * x.shape[3])
        out[..., ::2, ::2] = x
        return fir(out, 2, 1)

    x = act(F.conv2d(decoder.input.input, weight(decoder.conv1.conv, True), padding=1), decoder.conv1.activate.bias)
    flow = picture = 0
    flows = []
    for i, skip in enumerate(skips):
        n, up, flat = skip.shape[-1], decoder.convs[2 * i], decoder.convs[2 * i + 1]
        x = fir(F.conv_transpose2d(x, weight(up.conv, True).transpose(0, 1), stride=2), 1, 1)
        x = F.conv2d(act(x, up.activate.bias), weight(flat.conv, True), padding=1)
        x = act(x, flat.activate.bias)
        to_flow, to_rgb = decoder.to_flows[i], decoder.to_rgbs[i]
        flow = F.conv2d(x, weight(to_flow.conv, False)) + to_flow.bias + (spread(flow) if i else 0)
        flows.append(flow)
        axis = torch.linspace(-1, 1, n)
        y, x_axis = torch.meshgrid(axis, axis, indexing="ij")
        place = torch.stack([x_axis, y], -1) + flow[:, :2].tanh().permute(0, 2, 3, 1)
        mask = flow[:, 2:].sigmoid()
        warped = F.grid_sample(skip, place, "bilinear", "zeros", align_corners=False) * mask
        x = warped + x * (1 - mask)
        colour = F.conv2d(warped, to_rgb.conv[0].weight / math.sqrt(skip.shape[1]))
        picture = act(colour, to_rgb.conv[1].bias) + to_rgb.bias + (spread(picture) if i else 0)
    return picture, flows


def test_the_fast_form_equals_the_plain_one(decoder, portrait, drawn):
    motion = torch.randn(1, 4)
    picture, flows = plain_decoder(decoder, *portrait, motion)
    quick = drawn(motion)
    torch.testing.assert_close(quick.pictures, picture, atol=1e-4, rtol=1e-4)
    assert [flow.shape[-1] for flow in quick.flows] == [8, 16, 32]
    for a, b in zip(quick.flows, flows, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert flows[-1].abs().mean() > 0.1 and picture.std() > 0.1  # it does warp, and there is something to see


def test_a_batch_is_many_singles(drawn):
    motion = torch.randn(5, 4)
    many = drawn(motion).pictures
    singles = torch.cat([drawn(row[None]).pictures for row in motion])
    torch.testing.assert_close(many, singles, atol=1e-4, rtol=1e-4)
    assert (many[0] - many[1]).abs().mean() > 0.01


def test_bfloat16_renders_the_same_picture(decoder, portrait, drawn):
    motion, low = torch.randn(3, 4), decoder.constants(torch.bfloat16)
    ready = decoder.prepare(low, *portrait)
    assert low.levels[-1].flat.weight.dtype == low.levels[-1].up.weight.dtype == torch.bfloat16
    assert {colour.dtype for colour in ready.colours} == {torch.float32}
    exact, quick = drawn(motion).pictures, decoder.draw(low, ready, motion).pictures
    assert exact.dtype == quick.dtype == torch.float32
    noise = float((exact.clamp(-1, 1) - quick.clamp(-1, 1)).square().mean())
    assert noise > 0 and 10 * math.log10(4 / noise) > 40


def test_samples_are_those_of_grid_sample():
    torch.manual_seed(0)
    map_, place, mask = torch.randn(1, 6, 9, 9), torch.randn(2, 9, 9, 2), torch.rand(2, 9, 9)
    place[0, 0, 0] = torch.tensor([50.0, -50.0])  # far outside: nothing
    wanted = F.grid_sample(map_.expand(2, -1, -1, -1), place, align_corners=False) * mask[:, None]
    got = _sample(map_[0].flatten(1).T.contiguous(), place, mask)
    torch.testing.assert_close(got.permute(0, 3, 1, 2), wanted, atol=1e-5, rtol=1e-5)
    assert not got[0, 0, 0].any()


def test_zero_flow_is_not_the_identity():
    """Grid from corner to corner, sampled as if its ends were the borders: the edge lies half outside."""
    axis = torch.linspace(-1, 1, 8)
    place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], -1)[None]
    ones = _sample(torch.ones(64, 1), place, torch.ones(1, 8, 8))[0, ..., 0]
    assert ones[0, 0] == 0.25 and ones[0, 4] == 0.5 and torch.allclose(ones[1:-1, 1:-1], torch.ones(6, 6))


def test_directions_keep_the_signs_of_householder(decoder):
    q = decoder.directions()
    assert q.shape == (16, 4)
    torch.testing.assert_close(q.T @ q, torch.eye(4), atol=1e-5, rtol=0)
    r = q.T @ decoder.direction.weight
    torch.testing.assert_close(r, r.triu(), atol=1e-5, rtol=0)
    assert (r.diagonal() < 0).any()  # a positive diagonal would be another basis


def test_sizes(decoder):
    assert from_dict(StageOneConfig, {**to_dict(TINY), "channels": [16, 16, 12, 8]}) == TINY
    with pytest.raises(ValueError, match="size is 64"):
        StageOneConfig(size=64, channels=(16, 16, 12, 8))
    names = set(decoder.state_dict())
    assert {"direction.weight", "input.input", "conv1.conv.modulation.bias", "convs.5.activate.bias"} < names
    assert {"to_flows.2.conv.weight", "to_flows.0.bias", "to_rgbs.1.conv.1.bias", "to_rgbs.0.bias"} < names
    assert not [name for name in names if "kernel" in name or "noise" in name or "rgb1" in name]
