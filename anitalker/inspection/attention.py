"""What frames of speech the motion generator attends to: its attention maps, whatever the family.

Letters: L frames in a window, heads h.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

LEAST = 8  # frames; smaller square maps are no attention over time


class Watch(TorchFunctionMode):
    """While it is on, `maps` collects attention weights [h,L,L] of the first item of every batch.

    Both spellings are heard: scaled_dot_product_attention, and a softmax over square scores [B,h,L,L].
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function is F.scaled_dot_product_attention:
            query, key = args[0][0], args[1][0]  # [h,L,size]
            self._keep((query @ key.mT / query.shape[-1] ** 0.5).softmax(-1))
        elif function in (F.softmax, torch.softmax, Tensor.softmax) and out.ndim == 4:
            self._keep(out[0])
        return out

    def _keep(self, weights: Tensor) -> None:
        if weights.shape[-1] == weights.shape[-2] >= LEAST:
            self.maps.append(weights.detach().float().cpu())


def first_pass(maps: list[Tensor], steps: int) -> list[Tensor]:
    """The maps of the first of `steps` passes through the same layers: every layer once, [h,L,L] each."""
    return maps[: len(maps) // steps]


def distance_profile(weights: Tensor, reach: int) -> Tensor:
    """Attention [h,L,L] -> mean weight by distance in time, [h,2 reach + 1]; below the middle lies the past."""
    length = weights.shape[-1]
    found = [weights.diagonal(step, 1, 2).mean(-1) for step in range(-reach, reach + 1) if abs(step) < length]
    return torch.stack(found, -1)


def recent_share(weights: Tensor, near: int) -> float:
    """Part of the attention that lies within `near` frames of the frame itself."""
    length = weights.shape[-1]
    places = torch.arange(length)
    mask = (places[:, None] - places).abs() <= near
    return float((weights * mask).sum() / weights.sum())
