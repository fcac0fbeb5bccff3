"""Samplers against flows whose answer is known."""

import pytest
import torch

from anitalker.config import InputError
from anitalker.motion import samplers


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
    made = samplers.sample(gaussian(2.0, 0.5), noise, 200, method)
    assert torch.allclose(made, 2 + 0.5 * noise, atol=0.02)


def test_heun_is_closer_than_euler():
    noise = torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0))
    off = {
        m: (samplers.sample(gaussian(2.0, 0.5), noise, 8, m) - (2 + 0.5 * noise)).abs().mean()
        for m in ("euler", "heun")
    }
    assert off["heun"] < 0.5 * off["euler"]


def test_one_step_is_the_networks_own_estimate():
    noise = torch.randn(2, 5)
    assert torch.equal(samplers.sample(lambda x, t: x * 0 + 3, noise, 1), torch.full((2, 5), 3.0))


def test_path_and_velocity_belong_together():
    clean, noise, time = torch.randn(3, 7, 2), torch.randn(3, 7, 2), torch.tensor([0.0, 0.3, 0.9])
    x = samplers.interpolate(clean, noise, time)
    assert torch.equal(x[0], noise[0])
    assert torch.allclose(samplers.velocity(clean, x, time), clean - noise, atol=1e-5)


def test_guidance():
    yes, no = torch.ones(3), torch.zeros(3)
    assert torch.equal(samplers.guide(yes, no, 1.0), yes)
    assert torch.equal(samplers.guide(yes, no, 0.0), no)
    assert torch.equal(samplers.guide(yes, no, 2.0), 2 * yes)


def test_callback_sees_every_step():
    seen = []
    samplers.sample(gaussian(0, 1), torch.randn(1, 4), 5, callback=lambda step, x: seen.append((step, x.shape)))
    assert seen == [(i, (1, 4)) for i in range(5)]


def test_unknown_method_and_no_steps_are_refused():
    with pytest.raises(ValueError, match="euler, heun"):
        samplers.sample(gaussian(0, 1), torch.randn(1, 4), 5, "magic")
    with pytest.raises(ValueError, match="at least 1"):
        samplers.schedule(0)


def test_kept_steps_of_the_original():
    """Whole strides from 0 on, so that the start noise counts as 980 of 50 steps, not as 999."""
    assert samplers.ddim_schedule(50).times.tolist() == list(range(0, 1000, 20))
    assert samplers.ddim_schedule(10).times.tolist() == list(range(0, 1000, 100))
    assert samplers.ddim_schedule(3).times.tolist() == [0, 334, 668]  # the smallest stride that keeps three
    whole = samplers.ddim_schedule(1000)
    assert whole.alpha_bar.dtype == torch.float64
    product = 1.0
    for time, kept in enumerate(whole.alpha_bar.tolist()):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * time / 999)
        assert abs(kept - product) < 1e-12
    assert whole.alpha_bar_before[0] == 1 and torch.equal(whole.alpha_bar_before[1:], whole.alpha_bar[:-1])


def test_which_numbers_of_steps_exist():
    """A stride of whole steps cannot keep any number: 60 of 1000 is none, 59 and 63 are."""
    steps = samplers.ddim_steps()
    assert not {1, 37, 41, 43, 45, 47, 49, 51, 52, 54, 55, 57, 58, 60, 80, 120} & set(steps)
    assert {2, 8, 10, 20, 25, 36, 50, 53, 56, 59, 100, 200, 1000} <= set(steps)
    for number in steps:
        assert len(samplers.ddim_schedule(number).times) == number


@pytest.mark.parametrize(("steps", "near"), [(60, "56, 59, 63, 67"), (1, "2, 3"), (1001, "500, 1000"), (0, "2, 3")])
def test_other_numbers_are_refused_with_those_nearby(steps, near):
    with pytest.raises(InputError, match=f"steps is {steps};.* {near}$"):
        samplers.ddim_schedule(steps)


def knows(clean, seen=None):
    """A perfect network: it knows the clean value, so it knows the noise."""
    kept = samplers.ddim_schedule(1000).alpha_bar

    def network(x, time):
        if seen is not None:
            seen.append(time)
        ab = kept[time.long()].float()[:, None]
        return (x - ab.sqrt() * clean) / (1 - ab).sqrt()

    return network


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_ddim_finds_what_the_network_knows(steps):
    clean = torch.tensor([[-1.0, -0.3, 0.0, 0.9]]).expand(3, -1)
    seen = []
    made = samplers.ddim_sample(knows(clean, seen), torch.randn(3, 4), steps)
    assert torch.allclose(made, clean, atol=1e-5)
    assert [time.tolist() for time in seen] == [[t] * 3 for t in samplers.ddim_schedule(steps).times.flip(0).tolist()]
    assert seen[0].dtype == torch.float32


def test_ddim_keeps_the_clean_value_within_one():
    """The noise is taken anew from the kept value, so x stays on its way to it."""
    course = []
    made = samplers.ddim_sample(
        knows(torch.tensor([[3.0, -2.0]])), torch.zeros(1, 2), 10, lambda *step: course.append(step)
    )
    assert made.tolist() == [[1.0, -1.0]]
    assert [step for step, _, _ in course] == list(range(10))
    kept = samplers.ddim_schedule(10).alpha_bar_before.flip(0).float()
    before = samplers.ddim_schedule(10).alpha_bar.flip(0).float()
    x = torch.zeros(1, 2)
    for (_, after, clean), old, new in zip(course, before, kept, strict=True):
        assert clean.abs().max() <= 1
        noise = (x - old.sqrt() * clean) / (1 - old).sqrt()
        assert torch.allclose(after, new.sqrt() * clean + (1 - new).sqrt() * noise, atol=1e-5)
        x = after


def narrow(x, time):
    """The exact noise estimate for data N(0, 0.3^2): by it noise z goes to 0.3 z."""
    ab = samplers.ddim_schedule(1000).alpha_bar[time.long()].float()[:, None]
    return (1 - ab).sqrt() * x / (ab * 0.09 + 1 - ab)


def test_ddim_of_a_gaussian():
    """The error shrinks as steps grow."""
    noise = torch.linspace(-2, 2, 9)[:, None]
    off = {steps: (samplers.ddim_sample(narrow, noise, steps) - 0.3 * noise).abs().max() for steps in (100, 200, 1000)}
    assert off[1000] < 0.004
    assert off[200] / off[100] == pytest.approx(0.5, abs=0.05)  # a method of first order
