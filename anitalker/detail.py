"""Moving faces as sharp as the portrait: its high frequencies follow the flow by themselves, and what rests is kept.

Letters: B frames, h x w pixels of the crop region. Pictures are [.,3,h,w] in [-1,1].

A frame of the decoder is three layers under soft masks. Averages of two nearly equal layers, resampled between pixels,
lose the finest detail. Here it is taken out of the portrait before (what a small blur removes), carried along the same
flow with a sharper kernel, given to one of the two layers instead of both, and brought back to the strength that it
has in the portrait. Where nothing is displaced or drawn, the portrait's own pixels come back to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.decoder import compose
from anitalker.lids import slide
from anitalker.warp import resize

if TYPE_CHECKING:
    from anitalker.decoder import Layers

GREY = (0.299, 0.587, 0.114)
MOST_GAIN = 2.0  # by which carried detail is strengthened at most
NEAR = 9  # pixels of the window in which the strength of detail is compared
STILL = (0.2, 0.7)  # pixels of 256 that the flow displaces: below, the portrait stays; above, all is the frame's
DRAWN = (0.08, 0.25)  # the same for the share of drawn pixels
REACH = 3  # pixels of 256 by which the moving region is widened, and its edge softened


@dataclass(frozen=True)
class Detail:
    """What is done once per crop region. source, low [1,3,h,w]: all, and without detail; detail [1,1,h,w] in grey;
    energy [1,1,h,w]: mean square of the Laplacian that detail shall have around each pixel."""

    source: Tensor
    low: Tensor
    detail: Tensor
    energy: Tensor


def prepare(source: Tensor) -> Detail:
    """A crop region [1,3,h,w] -> Detail."""
    grey = (source * source.new_tensor(GREY)[None, :, None, None]).sum(1, keepdim=True)
    detail = grey - blur(grey)  # colour has next to none of its own
    both = (laplacian(grey) + laplacian(detail)) / 2  # what is composed without it loses a little of its own, too
    return Detail(source, source - detail, detail, window(both.square()))


def draw(prepared: Detail, layers: Layers) -> Tensor:
    """Frames [B,3,h,w] over a crop region; equal to it where nothing moves."""
    size = tuple(prepared.source.shape[-2:])
    rest, warped, drawn = layers.masks.split(1, 1)  # [B,1,256,256]
    grid = _grid(resize(layers.flow, size))
    detail, wanted = (field.expand(len(grid), -1, -1, -1) for field in (prepared.detail, prepared.energy))
    moved = F.grid_sample(detail, grid, mode="bicubic", padding_mode="border", align_corners=False)
    if layers.marks is not None:
        moved = slide(detail, moved, layers.marks)
    wanted = F.grid_sample(wanted, grid, padding_mode="border", align_corners=False)
    has = window(laplacian(moved).square())
    moved = moved * ((wanted + 1e-6) / (has + 1e-6)).sqrt().clamp(1.0, MOST_GAIN)
    at_rest = resize(smoothstep(rest / (rest + warped).clamp(min=1e-3), 0.42, 0.58), size)  # halves would cancel
    seen = resize(1 - smoothstep(drawn, 0.4, 0.9), size)
    frames = compose(prepared.low, layers) + seen * torch.lerp(moved, detail, at_rest)
    return torch.lerp(prepared.source.expand_as(frames), frames, moving(layers, size))


def moving(layers: Layers, size: tuple[int, int]) -> Tensor:
    """Where the frames differ from the portrait [B,1,h,w], 0..1 with soft edges: it follows the head.

    Exactly 0 where next to nothing is displaced and next to nothing drawn.
    """
    away = layers.flow.norm(dim=1, keepdim=True) * layers.flow.shape[-1]  # pixels of the decoder's
    busy = torch.maximum(smoothstep(away, *STILL), smoothstep(layers.masks[:, 2:], *DRAWN))
    side = 2 * REACH + 1
    wide = F.max_pool2d(F.max_pool2d(busy, (side, 1), 1, (REACH, 0)), (1, side), 1, (0, REACH))
    return resize(mean(wide, side), size)


def blur(picture: Tensor) -> Tensor:
    """Binomial 5x5 of [B,C,h,w], borders repeated."""
    kernel = picture.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(picture, (2, 2, 2, 2), "replicate")
    wide = sum(kernel[i] * padded[:, :, :, i : i + picture.shape[3]] for i in range(5))
    return sum(kernel[i] * wide[:, :, i : i + picture.shape[2]] for i in range(5))


def laplacian(field: Tensor) -> Tensor:
    """Four neighbours less four times the middle, [B,1,h,w]."""
    p = F.pad(field, (1, 1, 1, 1), "replicate")
    return p[:, :, :-2, 1:-1] + p[:, :, 2:, 1:-1] + p[:, :, 1:-1, :-2] + p[:, :, 1:-1, 2:] - 4 * field


def window(field: Tensor) -> Tensor:
    """Mean of [B,1,h,w] over NEAR x NEAR pixels."""
    return mean(field, NEAR)


def mean(field: Tensor, side: int) -> Tensor:
    """Mean of [B,1,h,w] over side x side pixels (odd), borders left out."""
    rows = F.avg_pool2d(field, (side, 1), 1, (side // 2, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, side // 2), count_include_pad=False)


def smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _grid(flow: Tensor) -> Tensor:
    """Flow [B,2,h,w] in crop widths -> places for grid_sample [B,h,w,2]."""
    height, width = flow.shape[-2:]
    y = (torch.arange(height, device=flow.device) * 2 + 1) / height - 1
    x = (torch.arange(width, device=flow.device) * 2 + 1) / width - 1
    still = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    return still[None] + 2 * flow.permute(0, 2, 3, 1)
