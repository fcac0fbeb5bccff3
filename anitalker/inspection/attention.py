"""Attention maps of the motion generator of any family: which frames of speech it attends to.

Letters: L frames in a window, h heads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

MIN_FRAMES = 8  # smaller square maps are not attention over time


class AttentionRecorder(TorchFunctionMode):
    """Context manager that collects in `maps` the attention weights [h,L,L] of the first item of every batch.

    Recorded are scaled_dot_product_attention, and softmax over square scores [B,h,L,L].
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        """Call the function, and record its weights if it is attention."""
        out = function(*args, **(kwargs or {}))
        if function is F.scaled_dot_product_attention:
            query, key = args[0][0], args[1][0]  # [h,L,size]
            self._record((query @ key.mT / query.shape[-1] ** 0.5).softmax(-1))
        elif function in (F.softmax, torch.softmax, Tensor.softmax) and out.ndim == 4:
            self._record(out[0])
        return out

    def _record(self, weights: Tensor) -> None:
        if weights.shape[-1] == weights.shape[-2] >= MIN_FRAMES:
            self.maps.append(weights.detach().float().cpu())


def first_pass(maps: list[Tensor], steps: int) -> list[Tensor]:
    """The maps of the first of `steps` passes through the network: one per layer, [h,L,L] each."""
    return maps[: len(maps) // steps]


def distance_profile(weights: Tensor, max_distance: int) -> Tensor:
    """Attention [h,L,L] -> mean weight by distance in frames [h,2 max_distance + 1]; the past comes first."""
    length = weights.shape[-1]
    offsets = [offset for offset in range(-max_distance, max_distance + 1) if abs(offset) < length]
    return torch.stack([weights.diagonal(offset, 1, 2).mean(-1) for offset in offsets], -1)


def local_share(weights: Tensor, max_distance: int) -> float:
    """Share of the attention within `max_distance` frames of the frame itself."""
    frames = torch.arange(weights.shape[-1])
    mask = (frames[:, None] - frames).abs() <= max_distance
    return float((weights * mask).sum() / weights.sum())
