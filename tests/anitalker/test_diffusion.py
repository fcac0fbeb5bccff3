"""Samplers against flows whose answer is known."""

import pytest
import torch

from anitalker import diffusion


def gaussian(mean: float, std: float):
    """The exact estimate of the clean value for data ~ N(mean, std^2), x = (1 - t) noise + t clean."""

    def network(x, time):
        time = time.reshape(-1, *[1] * (x.ndim - 1))
        variance = (1 - time) ** 2 + (time * std) ** 2
        return mean + time * std**2 * (x - time * mean) / variance

    return network


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_noise_becomes_the_data(method):
    """The flow of a Gaussian is linear: noise z ends at mean + std z."""
    noise = torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0))
    made = diffusion.sample(gaussian(2.0, 0.5), noise, 200, method)
    assert torch.allclose(made, 2 + 0.5 * noise, atol=0.02)


def test_heun_is_closer_than_euler():
    noise = torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0))
    off = {
        m: (diffusion.sample(gaussian(2.0, 0.5), noise, 8, m) - (2 + 0.5 * noise)).abs().mean()
        for m in ("euler", "heun")
    }
    assert off["heun"] < 0.5 * off["euler"]


def test_one_step_is_the_networks_own_estimate():
    noise = torch.randn(2, 5)
    assert torch.equal(diffusion.sample(lambda x, t: x * 0 + 3, noise, 1), torch.full((2, 5), 3.0))


def test_path_and_velocity_belong_together():
    clean, noise, time = torch.randn(3, 7, 2), torch.randn(3, 7, 2), torch.tensor([0.0, 0.3, 0.9])
    x = diffusion.interpolate(clean, noise, time)
    assert torch.equal(x[0], noise[0])
    assert torch.allclose(diffusion.velocity(clean, x, time), clean - noise, atol=1e-5)


def test_guidance():
    yes, no = torch.ones(3), torch.zeros(3)
    assert torch.equal(diffusion.guide(yes, no, 1.0), yes)
    assert torch.equal(diffusion.guide(yes, no, 0.0), no)
    assert torch.equal(diffusion.guide(yes, no, 2.0), 2 * yes)


def test_callback_sees_every_step():
    seen = []
    diffusion.sample(gaussian(0, 1), torch.randn(1, 4), 5, callback=lambda step, x: seen.append((step, x.shape)))
    assert seen == [(i, (1, 4)) for i in range(5)]


def test_unknown_method_and_no_steps_are_refused():
    with pytest.raises(ValueError, match="euler, heun"):
        diffusion.sample(gaussian(0, 1), torch.randn(1, 4), 5, "magic")
    with pytest.raises(ValueError, match="at least 1"):
        diffusion.schedule(0)
