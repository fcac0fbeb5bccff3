"""The matte network, its refinement, and the foreground's own colours."""

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from anitalker.matte.alpha import by_colours, find_matte, refine, tidy
from anitalker.matte.foreground import estimate_foreground
from anitalker.matte.network import FIRES, FIRES_8, FIRES_16, MatteNetwork
from anitalker.models.loading import load_matte
from anitalker.network_config import MatteConfig


def scene(height=96, width=128):
    """A person of one colour before a ground of another, and the alpha between them: a soft step."""
    columns = np.arange(width, dtype=np.float32)[None].repeat(height, 0)
    alpha = np.clip((columns - width / 2 + 6) / 12, 0, 1)
    front, behind = np.float32([180, 60, 40]), np.float32([20, 200, 90])
    picture = alpha[..., None] * front + (1 - alpha[..., None]) * behind
    return np.rint(picture).astype(np.uint8), alpha, front, behind


@pytest.mark.parametrize("shape", [(60, 90), (256, 256), (700, 300)])
def test_alpha_has_the_size_of_the_picture(shape):
    torch.manual_seed(0)
    network = MatteNetwork(MatteConfig(size=64, channels=(8, 8, 16, 16))).eval()
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    alpha = find_matte(network, picture)
    assert alpha.shape == shape and alpha.min() >= 0 and alpha.max() <= 1
    assert np.array_equal(alpha, find_matte(network, picture))


def test_the_encoder_takes_the_weights_of_squeezenet():
    network, rng, weights = MatteNetwork(MatteConfig()), np.random.default_rng(0), {}
    weights["features.0.weight"] = rng.normal(size=(96, 3, 7, 7)).astype(np.float32)
    weights["features.0.bias"] = np.zeros(96, np.float32)
    for number, inputs, squeezed, outputs in (*FIRES, *FIRES_8, *FIRES_16):
        shapes = {"squeeze": (squeezed, inputs, 1, 1)}
        shapes |= {"expand1x1": (outputs // 2, squeezed, 1, 1), "expand3x3": (outputs // 2, squeezed, 3, 3)}
        for name, shape in shapes.items():
            weights[f"features.{number}.{name}.weight"] = rng.normal(size=shape).astype(np.float32)
            weights[f"features.{number}.{name}.bias"] = np.zeros(shape[0], np.float32)
    network.start_encoder(weights)
    assert np.array_equal(network.entry.weight.detach(), weights["features.0.weight"])
    assert np.array_equal(network.fires16[0].expand3x3.weight.detach(), weights["features.12.expand3x3.weight"])


def test_islands_go_and_doubtful_holes_are_filled():
    """A sure hole, as between arm and body, stays; one in dark clothes at the lower edge does not."""
    alpha = np.zeros((100, 100), np.float32)
    alpha[30:, 20:80] = 1
    alpha[5:10, 5:10] = 0.9
    alpha[50:56, 30:36], alpha[50:56, 60:66], alpha[90:, 40:50] = 0.3, 0, 0.2
    tidied = tidy(alpha)
    assert not tidied[:20, :15].any() and tidied[50:56, 30:36].min() == 1 and tidied[90:, 40:50].min() == 1
    assert not tidied[51:55, 61:65].any() and np.array_equal(tidied[30:45], alpha[30:45])


def test_colours_decide_where_a_wide_part_is_in_doubt():
    """A dark coat that the network half sees becomes the person's; a thin edge of the same doubt stays as it is."""
    rng, picture = np.random.default_rng(0), np.zeros((128, 128, 3), np.float32)
    picture[:], picture[:, 30:98] = (190, 200, 210), (60, 40, 30)
    picture = (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
    alpha = np.zeros((128, 128), np.float32)
    alpha[:70, 30:98], alpha[70:, 30:98], alpha[:70, 29] = 1, 0.4, 0.5
    decided = by_colours(picture, alpha)
    assert decided[85:, 40:88].min() > 0.7 and decided[90:, :15].max() < 0.1
    assert np.abs(decided[:40] - alpha[:40]).max() < 0.01 and np.array_equal(decided, by_colours(picture, alpha))


def test_edges_come_back_at_the_size_of_the_picture():
    """A coarse matte of 256 columns, whose step is blurred, follows the picture's sharp edge."""
    picture = np.full((1024, 1024, 3), 30, np.uint8)
    picture[:, 514:] = (200, 180, 160)
    coarse = np.clip((np.arange(256, dtype=np.float32) - 126) / 5, 0, 1)[None].repeat(256, 0)
    alpha = refine(picture, np.ascontiguousarray(picture[::4, ::4]), coarse)
    assert alpha.shape == (1024, 1024)
    step = alpha[512, 517] - alpha[512, 511]  # pixels of the picture: 1.5 of the network's
    assert step > 1.5 * (coarse[0, 130] - coarse[0, 128])


def test_no_colour_of_the_old_background_stays():
    picture, alpha, front, behind = scene()
    colours = estimate_foreground(picture, alpha).astype(np.float32)
    mixed = (alpha > 0.2) & (alpha < 0.8)
    before = np.abs(picture[mixed] - front).mean()
    assert before > 40 and np.abs(colours[mixed] - front).mean() < 0.2 * before
    assert np.array_equal(colours[alpha == 1], picture[alpha == 1])
    far = colours[:, :10].mean((0, 1))
    assert np.abs(far - front).mean() < np.abs(far - behind).mean(), "what is hidden continues the foreground"


def test_another_file_is_no_matte_network(untrained_model):
    with pytest.raises(InputError, match="matte"):
        load_matte(untrained_model)
