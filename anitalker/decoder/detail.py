"""Frames as sharp as the portrait: its high frequencies follow the flow separately, and what rests is kept exactly.

Letters: B frames, h x w pixels of the part of the crop region that is drawn. Pictures are [.,3,h,w] in [-1,1].

A frame of the decoder is three layers under soft masks. The average of two nearly equal layers, resampled between
pixels, loses the finest detail. Here detail (what a small blur removes) is subtracted from the portrait first. It is
then carried along the same flow with a sharper kernel, taken from one of the two layers instead of both, and scaled
back to the energy that it has in the portrait. Where nothing is displaced or synthesised, the result equals the
portrait to the bit.
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
from anitalker.decoder.flow import resize
from anitalker.decoder.viewport import Viewport
from anitalker.runtime.smoothstep import smoothstep

if TYPE_CHECKING:
    from anitalker.decoder.decoder import Layers

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue
MAX_GAIN = 2.0  # by which carried detail is amplified at most
ENERGY_WINDOW = 9  # pixels a side of the window in which the energy of detail is compared
MOVING_PIXELS = (0.2, 0.7)  # displacement in pixels of 256: below, the portrait stays; above, the frame replaces it
SYNTHESISED_SHARE = (0.08, 0.25)  # the same for the mask of the synthesised layer
MOTION_MARGIN = 3  # pixels of 256 by which the moving region is widened and its edge softened


@dataclass(frozen=True)
class Detail:
    """What is computed once per crop region, in the viewport: the part of it that is drawn.

    source, low [1,3,h,w]: the region with and without its detail; detail [1,1,h,w]: of luma; energy [1,1,h,w]: the mean
    square of the Laplacian that detail should have around each pixel.
    """

    source: Tensor
    low: Tensor
    detail: Tensor
    energy: Tensor
    viewport: Viewport


def prepare_detail(source: Tensor, viewport: Viewport | None = None) -> Detail:
    """A crop region [1,3,h,w] in [-1,1], or the viewport that shows a part of it -> Detail."""
    luma = (source * source.new_tensor(LUMA)[None, :, None, None]).sum(1, keepdim=True)
    detail = luma - blur(luma)  # chroma has next to no detail
    expected = (laplacian(luma) + laplacian(detail)) / 2  # what is composed without detail loses a little, too
    viewport = viewport or Viewport.whole(source.shape[-2], source.shape[-1])
    return Detail(source, source - detail, detail, local_mean(expected.square()), viewport)


def draw_frames(prepared: Detail, layers: Layers) -> Tensor:
    """Frames [B,3,h,w] in [-1,1] over a crop region; equal to it where nothing moves."""
    count, viewport = len(layers.flow), prepared.viewport
    rest, warped, synthesised = layers.masks.split(1, 1)  # [B,1,256,256]
    at_rest = smoothstep(rest / (rest + warped).clamp(min=1e-3), 0.42, 0.58)  # half of each would cancel out
    photographed = 1 - smoothstep(synthesised, 0.4, 0.9)
    moves = motion_mask(layers, (layers.flow.shape[-2], layers.flow.shape[-1]))
    fields = (layers.flow, warped, synthesised, layers.synthesised, at_rest, photographed, moves)
    resized = viewport.resize(torch.cat(fields, 1)).split((2, 1, 1, 3, 1, 1, 1), 1)
    flow, warped, synthesised, pixels, at_rest, photographed, moves = resized
    grid = viewport.sampling_grid(flow)
    portrait = torch.cat([prepared.energy, prepared.low, prepared.detail], 1).expand(count, -1, -1, -1)
    moved = portrait.new_empty(portrait.shape)
    moved[:, :4] = F.grid_sample(portrait[:, :4], grid, padding_mode="border", align_corners=False)
    moved[:, 4:] = F.grid_sample(portrait[:, 4:], grid, mode="bicubic", padding_mode="border", align_corners=False)
    expected, moved = moved[:, :1], moved[:, 1:]
    if layers.landmark_pair is not None:
        moved = warp_eyelids(portrait[:, 1:], moved, layers.landmark_pair, viewport)
    low, carried = moved.split((3, 1), 1)
    energy = local_mean(laplacian(carried).square())
    carried = carried * ((expected + 1e-6) / (energy + 1e-6)).sqrt().clamp(1.0, MAX_GAIN)
    detail = photographed * torch.lerp(carried, prepared.detail, at_rest)
    frames = blend(prepared.low, low, warped, synthesised, pixels) + detail
    frames = torch.lerp(prepared.source, frames, moves)
    return frames if layers.mouth is None else layers.mouth.over(frames, prepared.source, viewport)


def motion_mask(layers: Layers, size: tuple[int, int]) -> Tensor:
    """Where the frames differ from the portrait: [B,1,h,w] in 0..1 with soft edges; it follows the head.

    Exactly 0 where next to nothing is displaced and next to nothing synthesised.
    """
    dx, dy = layers.flow.split(1, 1)
    distance = torch.addcmul(dx.square(), dy, dy).sqrt() * layers.flow.shape[-1]  # in the decoder's pixels
    changed = torch.maximum(smoothstep(distance, *MOVING_PIXELS), smoothstep(layers.masks[:, 2:], *SYNTHESISED_SHARE))
    side = 2 * MOTION_MARGIN + 1
    padded = F.pad(changed, (MOTION_MARGIN,) * 4)  # zeros: `changed` is never below 0
    widened = _sliding_reduce(_sliding_reduce(padded, side, 2, torch.maximum), side, 3, torch.maximum)
    return resize(box_mean(widened, side), size)


def blur(picture: Tensor) -> Tensor:
    """Binomial 5x5 filter of [B,C,h,w], borders replicated."""
    kernel = picture.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(picture, (2, 2, 2, 2), "replicate")
    height, width = picture.shape[2:]
    rows = functools.reduce(torch.add, (kernel[i] * padded[:, :, :, i : i + width] for i in range(5)))
    return functools.reduce(torch.add, (kernel[i] * rows[:, :, i : i + height] for i in range(5)))


def laplacian(field: Tensor) -> Tensor:
    """The sum of the four neighbours less four times the pixel itself, [B,1,h,w]; borders replicated."""
    p = F.pad(field, (1, 1, 1, 1), "replicate")
    return p[:, :, :-2, 1:-1] + p[:, :, 2:, 1:-1] + p[:, :, 1:-1, :-2] + p[:, :, 1:-1, 2:] - 4 * field


def local_mean(field: Tensor) -> Tensor:
    """Mean of [B,1,h,w] over ENERGY_WINDOW x ENERGY_WINDOW pixels."""
    return box_mean(field, ENERGY_WINDOW)


def box_mean(field: Tensor, side: int) -> Tensor:
    """Mean of [B,1,h,w] over side x side pixels (odd); at borders only the pixels inside count.

    Equivalent to `F.avg_pool2d(field, side, 1, side // 2, count_include_pad=False)` within rounding, in less time.
    """
    padded = F.pad(field, (side // 2,) * 4)
    sums = _sliding_reduce(_sliding_reduce(padded, side, 2, torch.add), side, 3, torch.add)
    return sums / _counts(*field.shape[-2:], side, field.device)


def _sliding_reduce(field: Tensor, side: int, axis: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`combine` over each `side` neighbours along an axis, which becomes side - 1 shorter; in windows of 1, 2, 4 ...

    Equivalent to `functools.reduce(combine, field.unfold(axis, side, 1).unbind(-1))` within rounding.
    """
    length, start, width = field.shape[axis] - side + 1, 0, 1  # `field` holds windows of `width`
    result: Tensor | None = None
    while True:
        if side & width:
            window = field.narrow(axis, start, length)
            result, start = window if result is None else combine(result, window), start + width
        if 2 * width > side:
            assert result is not None  # the highest bit of `side` is set
            return result
        rest = field.shape[axis] - width
        field, width = combine(field.narrow(axis, 0, rest), field.narrow(axis, width, rest)), 2 * width


@functools.lru_cache(maxsize=8)
def _counts(height: int, width: int, side: int, device: torch.device) -> Tensor:
    """How many of the side x side pixels around each pixel lie inside, [height,width]."""
    with torch.inference_mode(False):  # kept for training too
        rows, columns = (
            torch.minimum(torch.arange(n) + side // 2 + 1, torch.tensor(n)) - (torch.arange(n) - side // 2).clamp(min=0)
            for n in (height, width)
        )
        return (rows[:, None] * columns).float().to(device)
