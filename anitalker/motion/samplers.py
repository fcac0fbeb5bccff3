"""Samplers: flow matching, and the original's diffusion (DDIM). Independent of any network.

Letters of flow matching: x noisy value of any shape [B,...], t time [B] in 0 (noise) .. 1 (data). The path is straight,
x_t = (1 - t) noise + t clean, so its velocity is clean - noise (Lipman et al., "Flow matching for generative
modeling", 2023, eq. 20-23 with sigma_min = 0; Liu et al., "Flow straight and fast", 2023, eq. 1).

A network here is any function (x, t) -> estimate of the clean value; `velocity` turns the estimate into a velocity.

The original's diffusion (from `ddim_schedule` on) counts time the other way: 999 is noise and 0 data. Its path is
x_t = sqrt(ab_t) clean + sqrt(1 - ab_t) noise with ab the cumulative product of 1 - beta (Ho et al. 2020, eq. 4), and
its network estimates the noise. Its sampler is DDIM with eta 0 (Song et al., "Denoising diffusion implicit models",
2021, eq. 12), with the estimate of the clean value kept within -1..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from anitalker.config import InputError

Network = Callable[[Tensor, Tensor], Tensor]
TRAINED_STEPS = 1000  # time steps of the original's diffusion
BETA_FIRST, BETA_LAST = 1e-4, 0.02  # linear noise schedule


def interpolate(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """The point of the path at `time` [B]; clean and noise [B,...]."""
    time = time.reshape(-1, *[1] * (clean.ndim - 1))
    return (1 - time) * noise + time * clean


def velocity(clean: Tensor, x: Tensor, time: Tensor) -> Tensor:
    """dx/dt towards an estimate of the clean value: (clean - x) / (1 - t); time [B] < 1."""
    return (clean - x) / (1 - time).reshape(-1, *[1] * (x.ndim - 1))


def schedule(steps: int, device: torch.device | str = "cpu") -> Tensor:
    """Times [steps + 1] from 0 to 1, evenly spaced."""
    if steps < 1:
        raise ValueError(f"steps is {steps}; at least 1 is needed")
    return torch.linspace(0, 1, steps + 1, device=device)


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6): 0 ignores the condition, 1 follows, more exaggerates."""
    return unconditional + scale * (conditional - unconditional)


@torch.no_grad()
def sample(
    network: Network,
    noise: Tensor,
    steps: int,
    method: str = "euler",
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Integrate the flow from `noise` [B,...] to data in `steps` steps.

    method: euler, or heun, which also evaluates the network at the end of each step but the last (Karras et al. 2022,
    algorithm 1). callback(step, x) is called after every step. The last step returns the network's own estimate.
    ValueError for another method or steps below 1.
    """
    if method not in ("euler", "heun"):
        raise ValueError(f"method is {method!r}; allowed are euler, heun")
    x, times = noise, schedule(steps, noise.device).to(noise.dtype)
    for step in range(steps):
        time, next_time = times[step].expand(len(x)), times[step + 1].expand(len(x))
        clean = network(x, time)
        length = float(times[step + 1] - times[step])
        slope = velocity(clean, x, time)
        next_x = clean if step == steps - 1 else x + length * slope
        if method == "heun" and step < steps - 1:
            next_x = x + length * 0.5 * (slope + velocity(network(next_x, next_time), next_x, next_time))
        x = next_x
        if callback:
            callback(step, x)
    return x


@dataclass(frozen=True)
class DdimSchedule:
    """The time steps that are used, smallest first; all [N], float64 but for the times."""

    times: Tensor  # int64, 0, k, 2k ... below TRAINED_STEPS
    alpha_bar: Tensor
    alpha_bar_before: Tensor  # of the next smaller step in use; 1 for the smallest


def ddim_steps() -> list[int]:
    """The possible numbers of steps, 2 to 1000: those that a whole stride through TRAINED_STEPS gives."""
    return sorted({-(-TRAINED_STEPS // stride) for stride in range(1, TRAINED_STEPS)})


def ddim_schedule(steps: int) -> DdimSchedule:
    """The original's time steps: the smallest whole stride that gives exactly `steps` of TRAINED_STEPS.

    Not every number is possible (`ddim_steps`); InputError for others, with the nearest possible ones.
    """
    stride = next((k for k in range(1, TRAINED_STEPS) if -(-TRAINED_STEPS // k) == steps), None)
    if stride is None:
        known = ddim_steps()
        near = [*[n for n in known if n < steps][-2:], *[n for n in known if n > steps][:2]]
        raise InputError(
            f"steps is {steps}; the original's schedule has no such number, near it are {', '.join(map(str, near))}"
        )
    betas = torch.linspace(BETA_FIRST, BETA_LAST, TRAINED_STEPS, dtype=torch.float64)
    times = torch.arange(0, TRAINED_STEPS, stride)
    alpha_bar = (1 - betas).cumprod(0)[times]
    return DdimSchedule(times, alpha_bar, torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]]))


@torch.no_grad()
def ddim_sample(
    network: Network,
    noise: Tensor,
    steps: int,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The original's sampler: from `noise` [B,...] to data within -1..1, without further randomness.

    network(x, time [B]) estimates the noise in x; time is one of the schedule's, as float32. callback(step, x, clean)
    is called after every step with the next x and the estimate of the clean value. The result is the last estimate.
    InputError for an impossible number of steps.
    """
    schedule, x = ddim_schedule(steps), noise
    for step in range(steps):
        index = steps - 1 - step
        alpha_bar, alpha_bar_before = schedule.alpha_bar[index], schedule.alpha_bar_before[index]
        # In float64, then cast: 1 - alpha_bar is 1e-4 at the end.
        x_scale, noise_scale = float((1 / alpha_bar).sqrt()), float((1 / alpha_bar - 1).sqrt())
        time = torch.full((len(x),), float(schedule.times[index]), device=x.device)
        clean = (x_scale * x - noise_scale * network(x, time)).clamp(-1, 1)
        implied_noise = (x_scale * x - clean) / noise_scale  # consistent with the clamped estimate
        x = float(alpha_bar_before.sqrt()) * clean + float((1 - alpha_bar_before).sqrt()) * implied_noise
        if callback:
            callback(step, x, clean)
    return x
