"""Frames composed on a processor in one pass over 8-bit pixels: what `composition.compose_finely` computes, quickly.

Letters: n x n = 256 x 256 places of the decoder's grid, H x W pixels of the crop region, h x w of the part of it that
is drawn, t rows of a tile, C = 9 fields (`composition.FIELDS`).

A frame is drawn in tiles of a few rows, so that what belongs to a tile stays in the processor's cache, and only where
its fields are not 0. Fields are interpolated from their grid, first down, then across; the portrait is looked up by
OpenCV. From its version 5 on it does so exactly; before, it rounds positions to 1/32 pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP
from anitalker.decoder.composition import composition_fields
from anitalker.decoder.decoder import Layers
from anitalker.decoder.detail import DETAIL_OFFSET, FINER, Detail
from anitalker.decoder.eyelids import eyelid_samples
from anitalker.decoder.iris_shift import Irises
from anitalker.decoder.mouth_layer import MouthLayer, edge_weights
from anitalker.decoder.viewport import neighbours
from anitalker.faces.paste import Patch

TILE_ROWS = 64
SHARES = slice(2, 6)  # fields that are 0 where nothing changes


@dataclass(frozen=True)
class Lid:
    """An eye as its lids show it: pixels float32 [h,w,4] of 255 (as `Detail.fine`), weight [h,w], in a box."""

    rows: slice
    columns: slice
    pixels: np.ndarray
    weight: np.ndarray


class FusedCompositor:
    """Draws frames over one crop region; may be used by several threads at once."""

    def __init__(self, detail: Detail) -> None:
        self.detail, self.viewport = detail, detail.viewport
        self.rows = neighbours(CROP, *detail.viewport.spans[0])  # of the grid, about each row of the viewport

    def draw(self, layers: Layers) -> Patch:
        """One frame's Layers -> what changes, in its place in the viewport."""
        fields = composition_fields(layers)[0].numpy()
        active = (fields[SHARES] != 0).any(0)
        rows, columns = (self._pixels(active.any(1 - axis), axis) for axis in (0, 1))
        mouth = layers.mouth if layers.mouth is not None and bool((layers.mouth.change[:, 3] > 0).any()) else None
        if mouth is not None:
            rows, columns = (
                _union(span, other) for span, other in zip((rows, columns), mouth.window(self.viewport), strict=True)
            )
        frame = self.detail.pixels[rows, columns].copy()
        if self.detail.alpha is not None:
            frame = np.dstack([frame, self.detail.alpha[rows, columns]])
        lids = [] if layers.landmark_pair is None else self._lids(layers.landmark_pair, layers.irises)
        (_, _, height), (left, _, width) = self.viewport.spans
        fields = _combined(fields, FINER * width, FINER * height)
        wide = np.stack([cv2.resize(field, (width, len(field)))[:, left:][:, columns] for field in fields], 1)
        wide = torch.from_numpy(wide)  # [n,C,w]
        upper, lower = (wide.new_empty(TILE_ROWS, *wide.shape[1:]) for _ in range(2))
        for start in range(rows.start, rows.stop, TILE_ROWS):
            tile = slice(start, min(start + TILE_ROWS, rows.stop))
            below, above, weight = (part[tile] for part in self.rows)
            across = self._pixels(active[int(below[0]) : int(above[-1]) + 1].any(0), 1)
            if across.start == across.stop:
                continue
            inside = slice(across.start - columns.start, across.stop - columns.start)
            count = tile.stop - tile.start
            torch.index_select(wide, 0, above, out=lower[:count])
            down = torch.index_select(wide, 0, below, out=upper[:count]).lerp_(lower[:count], weight[:, None, None])
            pixels = self._compose(down.numpy().transpose(1, 0, 2)[..., inside], tile, across, lids)
            frame[tile.start - rows.start : tile.stop - rows.start, inside] = pixels
        if mouth is not None:
            self._lay_mouth(mouth, frame, rows.start, columns.start)
        return Patch(rows.start, columns.start, frame)

    def _pixels(self, active: np.ndarray, axis: int) -> slice:
        """Rows (axis 0) or columns (1) of the viewport that active places [n] reach."""
        places = np.flatnonzero(active)
        if not len(places):
            return slice(0, 0)
        first, shown, total = self.viewport.spans[axis]
        low, high = ((places[k] + offset) * total / len(active) for k, offset in ((0, -0.5), (-1, 1.5)))
        return slice(*(min(max(int(end) - first, 0), shown) for end in (low, high + 1)))

    def _compose(self, fields: np.ndarray, rows: slice, columns: slice, lids: list[Lid]) -> np.ndarray:
        """Fields [C,t,w] of a tile, as `_combined` makes them -> its pixels, uint8 [t,w,3 or 4]; changes the fields."""
        x, y, share, covered, carried, kept = fields[:6]
        centre = (FINER - 1) / 2
        x += np.arange(columns.start, columns.stop, dtype=np.float32) * FINER + centre
        y += (np.arange(rows.start, rows.stop, dtype=np.float32) * FINER + centre)[:, None]
        warped = self._look(x, y)
        for lid in lids:
            _lay_lid(lid, warped, rows, columns)
        detail = warped[3]
        detail -= DETAIL_OFFSET
        detail *= carried  # of the warped portrait
        kept *= self.detail.detail[rows, columns]  # of the resting one
        detail += kept
        planes = []
        for colour, source in enumerate(cv2.split(self.detail.pixels[rows, columns])):
            plane, source = fields[6 + colour], source.astype(np.float32)
            plane += detail
            plane += np.multiply(warped[colour], share, out=warped[colour])
            plane -= covered * source
            planes.append(cv2.add(plane, source, dtype=cv2.CV_8U))  # rounded and clipped
        if self.detail.alpha is not None:
            x, y = (axis / FINER - centre / FINER for axis in (x, y))
            planes.append(cv2.remap(self.detail.alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        return cv2.merge(planes)

    def _look(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """The finer copy at x, y [h,w] in its pixels -> four planes, float32 [h,w] of 255."""
        looked = cv2.remap(self.detail.fine, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return [plane.astype(np.float32) for plane in cv2.split(looked)]

    def _lids(self, landmark_pair: Tensor, irises: Irises | None) -> list[Lid]:
        """Both eyes, where the viewport shows them."""
        irises = None if irises is None else irises.on_host()
        samples = eyelid_samples(landmark_pair.numpy(), self.viewport, irises)
        if samples is None:
            return []
        lids = []
        for eye, (places, shares) in enumerate(zip(samples.grid[0], samples.shares[0], strict=True)):
            x, y = _in_pixels(places.reshape(2, -1, places.shape[-1]), self.detail.fine)  # upper lid, lower lid, eye
            looked = cv2.remap(self.detail.fine, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            pixels = (looked.reshape(*shares.shape, 4) * shares[..., None]).sum(0)
            lids.append(Lid(*samples.box(eye), pixels, samples.weight[0, eye]))
        return lids

    def _lay_mouth(self, mouth: MouthLayer, frame: np.ndarray, top: int, left: int) -> None:
        """One mouth laid over a frame whose first row and column are `top` and `left` of the viewport."""
        rows, columns = mouth.window(self.viewport)
        in_patch, sources = ((x[0], y[0]) for x, y in mouth.places(rows, columns, self.viewport))
        change = np.ascontiguousarray(mouth.change[0].permute(1, 2, 0).numpy())
        x, y = _in_pixels(in_patch, change)
        change = cv2.remap(change, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        warped = self._look(*_in_pixels(sources, self.detail.fine))
        alpha = change[..., 3] * edge_weights(rows, columns, self.viewport)
        window = frame[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left, :3]
        planes = []
        for colour in range(3):
            below = window[..., colour].astype(np.float32)
            drawn = warped[colour]
            drawn += change[..., colour] * np.float32(127.5)
            np.clip(drawn, 0, 255, out=drawn)
            drawn -= below
            drawn *= alpha
            planes.append(cv2.add(drawn, below, dtype=cv2.CV_8U))
        window[...] = cv2.merge(planes)


def _in_pixels(place: Sequence[np.ndarray], picture: np.ndarray) -> list[np.ndarray]:
    """x and y [h,w] in -1..1 of a picture [H,W,C] -> in its pixels, for OpenCV."""
    return [
        (ends + 1) * np.float32(size / 2) - np.float32(0.5)
        for ends, size in zip(place, picture.shape[1::-1], strict=True)
    ]


def _combined(fields: np.ndarray, width: float, height: float) -> np.ndarray:
    """The fields in pixels of the finer copy and in 8-bit units: flow, A, C, P - A, C - Q, BX + (C - A) / 2.

    Sums of fields are interpolated like the fields themselves, and are quicker here than in the picture's pixels. The
    last one has the offset between -1..1 and 0..255 in it.
    """
    x, y, share, covered, carried, left_out = fields[:6]
    synthesised = 127.5 * (fields[6:] + (covered - share))
    return np.stack([x * width, y * height, share, covered, carried - share, covered - left_out, *synthesised])


def _lay_lid(lid: Lid, planes: list[np.ndarray], rows: slice, columns: slice) -> None:
    """The part of an eye that lies in a tile, laid over the tile's planes [t,w]."""
    top, bottom = max(rows.start, lid.rows.start), min(rows.stop, lid.rows.stop)
    left, right = max(columns.start, lid.columns.start), min(columns.stop, lid.columns.stop)
    if top >= bottom or left >= right:
        return
    inside = (
        slice(top - lid.rows.start, bottom - lid.rows.start),
        slice(left - lid.columns.start, right - lid.columns.start),
    )
    weight = lid.weight[inside]
    for channel, plane in enumerate(planes):
        part = plane[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
        part += weight * (lid.pixels[inside][..., channel] - part)


def _union(span: slice, other: slice) -> slice:
    """Both; the other where one is empty."""
    if span.start == span.stop:
        return other
    return slice(min(span.start, other.start), max(span.stop, other.stop))
