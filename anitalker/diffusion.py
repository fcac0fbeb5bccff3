"""Flow matching: the path from noise to data and samplers along it. Knows no network.

Letters: x noisy value of any shape [B,...], t time [B] in 0 (noise) .. 1 (data). The path is straight,
x_t = (1 - t) noise + t clean, so its velocity is clean - noise (Lipman et al., "Flow matching for generative
modeling", 2023, eq. 20-23 with sigma_min = 0; Liu et al., "Flow straight and fast", 2023, eq. 1).

A network here is any function (x, t) -> estimate of the clean value; `velocity` turns it into a direction.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]


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
    """Follow the flow from `noise` [B,...] to data in `steps` steps.

    method: euler, or heun, which looks at the end of each step too (twice the calls but one; Karras et al. 2022,
    algorithm 1).
    callback(step, x) is called after every step. The last step lands on the network's own estimate.
    """
    if method not in ("euler", "heun"):
        raise ValueError(f"method is {method!r}; allowed are euler, heun")
    x, times = noise, schedule(steps, noise.device).to(noise.dtype)
    for step in range(steps):
        now, after = times[step].expand(len(x)), times[step + 1].expand(len(x))
        clean = network(x, now)
        length = float(times[step + 1] - times[step])
        slope = velocity(clean, x, now)
        ahead = clean if step == steps - 1 else x + length * slope
        if method == "heun" and step < steps - 1:
            ahead = x + length * 0.5 * (slope + velocity(network(ahead, after), ahead, after))
        x = ahead
        if callback:
            callback(step, x)
    return x
