"""Moving faces as sharp as the portrait: its high frequencies follow the flow by themselves, and what rests is kept.

Letters: B frames, h x w pixels of the crop region. Pictures are [.,3,h,w] in [-1,1].

A frame of the decoder is three layers under soft masks. Averages of two nearly equal layers, resampled between pixels,
lose the finest detail. Here it is taken out of the portrait before (what a small blur removes), carried along the same
flow with a sharper kernel, given to one of the two layers instead of both, and brought back to the strength that it
has in the portrait. Where nothing is displaced or drawn, the portrait's own pixels come back to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.decoder.decoder import blend
from anitalker.decoder.eyelids import warp_eyelids
from anitalker.decoder.flow import grid, resize
from anitalker.runtime.smoothstep import smoothstep

if TYPE_CHECKING:
    from anitalker.decoder.decoder import Layers

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


def prepare_detail(source: Tensor) -> Detail:
    """A crop region [1,3,h,w] -> Detail."""
    grey = (source * source.new_tensor(GREY)[None, :, None, None]).sum(1, keepdim=True)
    detail = grey - blur(grey)  # colour has next to none of its own
    both = (laplacian(grey) + laplacian(detail)) / 2  # what is composed without it loses a little of its own, too
    return Detail(source, source - detail, detail, window(both.square()))


def draw_frames(prepared: Detail, layers: Layers) -> Tensor:
    """Frames [B,3,h,w] over a crop region; equal to it where nothing moves."""
    count, size = len(layers.flow), tuple(prepared.source.shape[-2:])
    rest, warped, drawn = layers.masks.split(1, 1)  # [B,1,256,256]
    at_rest = smoothstep(rest / (rest + warped).clamp(min=1e-3), 0.42, 0.58)  # halves would cancel
    seen = 1 - smoothstep(drawn, 0.4, 0.9)
    moves = moving(layers, layers.flow.shape[-2:])
    fields = (layers.flow, warped, drawn, layers.pixels, at_rest, seen, moves)
    flow, warped, drawn, pixels, at_rest, seen, moves = resize(torch.cat(fields, 1), size).split(
        (2, 1, 1, 3, 1, 1, 1), 1
    )
    places = grid(flow)
    still = torch.cat([prepared.energy, prepared.low, prepared.detail], 1).expand(count, -1, -1, -1)
    moved = still.new_empty(still.shape)
    moved[:, :4] = F.grid_sample(still[:, :4], places, padding_mode="border", align_corners=False)
    moved[:, 4:] = F.grid_sample(still[:, 4:], places, mode="bicubic", padding_mode="border", align_corners=False)
    wanted, moved = moved[:, :1], moved[:, 1:]
    if layers.marks is not None:
        moved = warp_eyelids(still[:, 1:], moved, layers.marks)
    low, carried = moved.split((3, 1), 1)
    has = window(laplacian(carried).square())
    carried = carried * ((wanted + 1e-6) / (has + 1e-6)).sqrt().clamp(1.0, MOST_GAIN)
    frames = blend(prepared.low, low, warped, drawn, pixels) + seen * torch.lerp(carried, prepared.detail, at_rest)
    return torch.lerp(prepared.source, frames, moves)


def moving(layers: Layers, size: tuple[int, int]) -> Tensor:
    """Where the frames differ from the portrait [B,1,h,w], 0..1 with soft edges: it follows the head.

    Exactly 0 where next to nothing is displaced and next to nothing drawn.
    """
    across, down = layers.flow.split(1, 1)
    away = torch.addcmul(across.square(), down, down).sqrt() * layers.flow.shape[-1]  # pixels of the decoder's
    busy = torch.maximum(smoothstep(away, *STILL), smoothstep(layers.masks[:, 2:], *DRAWN))
    side = 2 * REACH + 1
    wide = _join(_join(F.pad(busy, (REACH,) * 4), side, 2, torch.maximum), side, 3, torch.maximum)  # never below 0
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
    sums = _join(_join(F.pad(field, (side // 2,) * 4), side, 2, torch.add), side, 3, torch.add)
    return sums / _counts(*field.shape[-2:], side, field.device)


def _join(field: Tensor, side: int, axis: int, two: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`two` over every `side` neighbours along an axis, which becomes side - 1 shorter: over 1, 2, 4 ... at first."""
    length, whole, at, wide = field.shape[axis] - side + 1, None, 0, 1
    while True:
        if side & wide:
            part = field.narrow(axis, at, length)
            whole, at = part if whole is None else two(whole, part), at + wide
        if 2 * wide > side:
            return whole
        rest = field.shape[axis] - wide
        field, wide = two(field.narrow(axis, 0, rest), field.narrow(axis, wide, rest)), 2 * wide


@functools.lru_cache(maxsize=8)
def _counts(height: int, width: int, side: int, device: torch.device) -> Tensor:
    """How many of side x side pixels around each lie inside, [height,width]."""
    with torch.inference_mode(False):
        rows, columns = (
            torch.minimum(torch.arange(n) + side // 2 + 1, torch.tensor(n)) - (torch.arange(n) - side // 2).clamp(min=0)
            for n in (height, width)
        )
        return (rows[:, None] * columns).float().to(device)
