"""The part of a crop region that is drawn: what lies outside of the picture costs nothing.

A close-up's crop reaches far beyond its picture. Layers cover the whole crop; pixels are composed in the viewport only.

Letters: B frames, C channels, H x W pixels of the whole region, h x w pixels of the viewport.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from anitalker.decoder.flow import identity_grid, resize


@dataclass(frozen=True)
class Viewport:
    """Rows top .. top + height and columns left .. left + width of a region of `region` = (H, W) pixels."""

    top: int
    left: int
    height: int
    width: int
    region: tuple[int, int]

    @classmethod
    def whole(cls, height: int, width: int) -> Viewport:
        """The viewport that shows all of a region."""
        return cls(0, 0, height, width, (height, width))

    @classmethod
    def around(cls, rows: slice, columns: slice, region: tuple[int, int]) -> Viewport:
        """The viewport that shows rows and columns of a region."""
        return cls(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start, region)

    @property
    def box(self) -> tuple[slice, slice]:
        """Its rows and columns in the region."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def is_whole(self) -> bool:
        """Whether it shows all of the region."""
        return (self.height, self.width) == self.region

    @property
    def spans(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """First index, length and length of the whole region, of the rows and of the columns."""
        return (self.top, self.height, self.region[0]), (self.left, self.width, self.region[1])

    def inner(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Rows and columns of the region, both inside the viewport, counted from its corner."""
        return (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )

    def resize(self, field: Tensor) -> Tensor:
        """A map of the whole region [B,C,n,m] -> the viewport's pixels [B,C,h,w], bilinear.

        Equivalent to `resize` to the region's size, cut afterwards, within rounding.
        """
        if self.is_whole:
            return resize(field, self.region)
        for axis, (start, length, total) in zip((2, 3), self.spans, strict=True):
            below, above, weight = neighbours(field.shape[axis], start, length, total, field.device)
            weight = weight[:, None] if axis == 2 else weight
            field = torch.lerp(field.index_select(axis, below), field.index_select(axis, above), weight)
        return field

    def sampling_grid(self, flow: Tensor) -> Tensor:
        """Flow [B,2,h,w] in widths of the region -> the grid for `F.grid_sample` over the viewport, [B,h,w,2]."""
        identity = identity_grid(self.height, self.width, flow.device)
        flow = flow.permute(0, 2, 3, 1)
        if self.is_whole:
            return torch.add(identity, flow, alpha=2)
        (_, height, rows), (_, width, columns) = self.spans
        return torch.addcmul(identity, flow, flow.new_tensor([2 * columns / width, 2 * rows / height]))


@functools.lru_cache(maxsize=16)
def neighbours(
    n: int, start: int, length: int, total: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor, Tensor]:
    """For pixels start .. start + length of `total`: both neighbours among n samples, and the second one's weight."""
    with torch.inference_mode(False):
        position = ((torch.arange(start, start + length, device=device) + 0.5) * (n / total) - 0.5).clamp(min=0)
        below = position.floor().long().clamp(max=n - 1)
        return below, (below + 1).clamp(max=n - 1), (position - below).float()
