"""The original's encoder and its layers against their plain form."""

import math

import pytest
import torch
from torch.nn import functional as F

from encoders.equalized import Activation, Blur, EqualConv2d, EqualLinear, double
from encoders.pyramid import StageOneEncoder

CHANNELS = (16, 16, 12, 8)  # at 4, 8, 16 and 32 pixels
TAP = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1]))


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = StageOneEncoder(CHANNELS, 16, 5).eval().requires_grad_(False)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias") or name.endswith("ws.weights"):
            torch.nn.init.normal_(parameter)
    return encoder


def fir(x, kernel, before, after):
    """Zeros around, then the same 4x4 kernel on every channel, one by one."""
    padded = F.pad(x, (before, after, before, after))
    return torch.cat([F.conv2d(channel, kernel[None, None]) for channel in padded.split(1, 1)], 1)


def test_weights_are_divided_by_the_root_of_their_inputs():
    layer, x = EqualConv2d(3, 5, 4), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight / math.sqrt(48)))
    linear, x = EqualLinear(9, 4, bias=2.0), torch.randn(2, 9)
    torch.testing.assert_close(linear(x), x @ linear.weight.T / 3 + 2)


def test_activation():
    layer = Activation(2)
    layer.bias.data[:] = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    out = layer(torch.zeros(1, 2, 1, 1)).flatten()
    torch.testing.assert_close(out, math.sqrt(2) * torch.tensor([1.0, -0.2]))


def test_blur_and_its_stride():
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(Blur(3, 2)(x), fir(x, TAP / 64, 2, 2))
    torch.testing.assert_close(Blur(3, 1, stride=2)(x), fir(x, TAP / 64, 1, 1)[..., ::2, ::2])
    assert not Blur(3, 1).state_dict()


def test_double_inserts_zeros_and_blurs():
    x = torch.randn(2, 3, 5, 5)
    spread = torch.zeros(2, 3, 10, 10)
    spread[..., ::2, ::2] = x
    torch.testing.assert_close(double(x), fir(spread, TAP / 16, 2, 1))
    flat = double(torch.ones(1, 1, 6, 6))[0, 0]
    torch.testing.assert_close(flat[2:-2, 2:-2], torch.ones(8, 8))  # the mean stays, but for the border
    assert flat[0, 0] < 0.6


def test_the_pyramid_step_by_step(encoder):
    """Each block as the format describes it: low pass with 2 px, stride 2; shortcut by low pass with 1 px."""
    x = torch.randn(2, 3, 32, 32)
    stages = encoder.net_app(x)
    assert [tuple(s.shape[1:]) for s in stages] == [(8, 32, 32), (12, 16, 16), (16, 8, 8), (16, 4, 4), (16, 1, 1)]

    def act(y, bias):
        return F.leaky_relu(y + bias, 0.2) * math.sqrt(2)

    w = {key: tensor / math.sqrt(tensor[0].numel()) for key, tensor in encoder.net_app.state_dict().items()}
    b = encoder.net_app.state_dict()
    y = act(F.conv2d(x, w["convs.0.0.weight"]), b["convs.0.1.bias"])
    for i in (1, 2, 3):
        inner = act(F.conv2d(y, w[f"convs.{i}.conv1.0.weight"], padding=1), b[f"convs.{i}.conv1.1.bias"])
        inner = F.conv2d(fir(inner, TAP / 64, 2, 2), w[f"convs.{i}.conv2.1.weight"], stride=2)
        short = F.conv2d(fir(y, TAP / 64, 1, 1), w[f"convs.{i}.skip.1.weight"], stride=2)
        y = (act(inner, b[f"convs.{i}.conv2.2.bias"]) + short) / math.sqrt(2)
        torch.testing.assert_close(y, stages[i])
    torch.testing.assert_close(F.conv2d(y, w["convs.4.weight"]), stages[4])


def test_hal_weights_every_stage(encoder):
    encoding = encoder(torch.randn(3, 3, 32, 32))
    assert encoding.stages.shape == (3, 5, 16) and encoding.weights.shape == (5,)
    assert float(encoding.weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(torch.einsum("bsc,s->bc", encoding.stages, encoding.weights), encoding.image_code)
    assert set(encoder.net_app.lifts) == {0, 1}  # widths 8 and 12 are lifted, 16 is the code's own
    encoder.net_app.ws.weights[:] = torch.tensor([0, 0, 0, 0, 100.0])
    torch.testing.assert_close(
        encoder(torch.ones(1, 3, 32, 32)).image_code, encoder.net_app(torch.ones(1, 3, 32, 32))[-1].flatten(1)
    )


def test_skips_go_from_small_to_large(encoder):
    encoding = encoder(torch.randn(1, 3, 32, 32))
    assert [skip.shape[-1] for skip in encoding.skips] == [8, 16, 32]


def test_the_motion_code_is_affine_in_its_feature(encoder):
    a, b = torch.randn(1, 16), torch.randn(1, 16)
    fc, zero = encoder.fc, torch.zeros(1, 16)
    torch.testing.assert_close(fc(a + b), fc(a) + fc(b) - fc(zero), atol=1e-4, rtol=1e-4)


def test_a_batch_is_many_singles(encoder):
    pictures = torch.randn(3, 3, 32, 32)
    many = encoder(pictures)
    for i in range(3):
        single = encoder(pictures[i : i + 1])
        torch.testing.assert_close(single.motion_code[0], many.motion_code[i], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(single.skips[-1][0], many.skips[-1][i], atol=1e-5, rtol=1e-5)


def test_names_are_the_published_ones():
    names = set(StageOneEncoder(CHANNELS, 16, 5).state_dict())
    assert {"net_app.convs.0.0.weight", "net_app.convs.1.conv2.2.bias", "net_app.convs.3.skip.1.weight"} < names
    assert {"net_app.fc2.bias", "net_app.ws.weights", "fc.4.weight"} < names
    assert {"net_decouping.identity_excluded_net.2.weight", "net_decouping.identity_net.0.bias"} < names
    assert not any("kernel" in name for name in names)
