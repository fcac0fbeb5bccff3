"""Activation maximisation: the picture that raises a motion number most, by regularised gradient ascent.

Letters: B pictures, one per maximised number; M motion numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from anitalker.inspection.attribution import gaussian_blur

STEPS = 16
STEP_RMS = 0.02  # root mean square of the change per step, of a picture in [-1,1]
GRADIENT_BLUR_STD_PIXELS = 3.0  # of the Gaussian over each step, so that shapes change and not single pixels
TOTAL_VARIATION_WEIGHT = 0.5
DISTANCE_WEIGHT = 0.3  # of the squared distance from the start
MAX_SHIFT_PIXELS = 4  # random shift of the picture in each step (Mordvintsev et al. 2015)


def maximise(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    numbers: Sequence[int],
    std: Tensor,
    sign: float = 1.0,
    steps: int = STEPS,
) -> tuple[Tensor, Tensor]:
    """Pictures [B,3,H,W] that raise (sign 1) or lower (-1) one number each, and the gains [B] in standard deviations.

    function: [B,3,H,W] -> [B,M]; start [1,3,H,W] in [-1,1]; numbers: indices of M; std [M].
    """
    pictures = start.expand(len(numbers), -1, -1, -1).clone()
    rows, columns = torch.arange(len(numbers)), torch.tensor(list(numbers))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        before = function(start)[0, columns]
    for _ in range(steps):
        shift = tuple(torch.randint(-MAX_SHIFT_PIXELS, MAX_SHIFT_PIXELS + 1, (2,), generator=rng).tolist())
        pictures.requires_grad_()
        gain = sign * function(pictures.roll(shift, (2, 3)))[rows, columns] / std[columns]
        (gradient,) = torch.autograd.grad((gain - _penalty(pictures, start)).sum(), pictures)
        with torch.no_grad():
            gradient = gaussian_blur(gradient, GRADIENT_BLUR_STD_PIXELS)
            rms = gradient.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
            pictures = (pictures + STEP_RMS * gradient / rms).clamp(-1, 1)
    with torch.no_grad():
        return pictures.detach(), (function(pictures)[rows, columns] - before) / std[columns]


def _penalty(pictures: Tensor, start: Tensor) -> Tensor:
    """Weighted total variation and size of the change [B]."""
    change = pictures - start
    variation = change.diff(dim=2).abs().mean((1, 2, 3)) + change.diff(dim=3).abs().mean((1, 2, 3))
    return TOTAL_VARIATION_WEIGHT * variation + DISTANCE_WEIGHT * change.square().mean((1, 2, 3))
