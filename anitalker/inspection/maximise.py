"""The picture that raises a number most, by gradient ascent with a regulariser.

Letters: B pictures, one per number asked for; M motion numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

STEPS = 16
LENGTH = 0.02  # of one step: root mean square of the change of a picture in [-1,1]
SMOOTH = 3.0  # pixels: deviation of the Gaussian over each step, so that shapes change and not single pixels
ROUGH = 0.5  # weight of total variation
FAR = 0.3  # weight of the distance from where it started
SHIFT = 4  # pixels: the picture is moved by up to this much each step (Mordvintsev et al. 2015)


def maximise(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    numbers: Sequence[int],
    spread: Tensor,
    sign: float = 1.0,
    steps: int = STEPS,
) -> tuple[Tensor, Tensor]:
    """Pictures [B,3,H,W] that raise (sign 1) or lower (-1) the numbers, one each, and by how many spreads [B].

    function: [B,3,H,W] -> [B,M]; start [1,3,H,W] in [-1,1]; spread [M].
    """
    from anitalker.inspection.attribution import blurred

    pictures = start.expand(len(numbers), -1, -1, -1).clone()
    rows, chosen = torch.arange(len(numbers)), torch.tensor(list(numbers))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        before = function(start)[0, chosen]
    for _ in range(steps):
        shift = tuple(torch.randint(-SHIFT, SHIFT + 1, (2,), generator=rng).tolist())
        pictures.requires_grad_()
        raised = sign * function(pictures.roll(shift, (2, 3)))[rows, chosen] / spread[chosen]
        (slope,) = torch.autograd.grad((raised - _cost(pictures, start)).sum(), pictures)
        with torch.no_grad():
            slope = blurred(slope, SMOOTH)
            length = slope.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
            pictures = (pictures + LENGTH * slope / length).clamp(-1, 1)
    with torch.no_grad():
        return pictures.detach(), (function(pictures)[rows, chosen] - before) / spread[chosen]


def _cost(pictures: Tensor, start: Tensor) -> Tensor:
    """Total variation of the change, and its size: [B]."""
    change = pictures - start
    steps = change.diff(dim=2).abs().mean((1, 2, 3)) + change.diff(dim=3).abs().mean((1, 2, 3))
    return ROUGH * steps + FAR * change.square().mean((1, 2, 3))
