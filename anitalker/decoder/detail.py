"""What frames need of a portrait's crop region to be as sharp as it, prepared once.

Letters: H x W pixels of the crop region, h x w pixels of the part of it that is drawn.

Between the pixels of a picture, interpolation loses its finest detail. So the portrait is sampled from a copy of twice
the resolution, sharpened by what the interpolation loses on average over all positions between two pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.decoder.viewport import Viewport
from anitalker.runtime.transfer import to_tensor

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue
DETAIL_OFFSET = 128  # of 255, so that detail of both signs fits 8 bits
FINER = 2  # pixels of the finer copy along one of the portrait's
SHARPENING = 0.4  # of a pixel's difference to the binomial mean of its 3x3 neighbours


@dataclass(frozen=True)
class Detail:
    """A crop region, as far as it is drawn.

    pixels uint8 [h,w,3]; fine uint8 [2 h,2 w,4]: RGB and detail plus DETAIL_OFFSET, sharpened; detail float32 [h,w]:
    luma less its blur, of 255; alpha uint8 [h,w], None: it is 255 everywhere.
    """

    pixels: np.ndarray
    fine: np.ndarray
    detail: np.ndarray
    viewport: Viewport
    alpha: np.ndarray | None = None

    def to(self, device: torch.device | str) -> TensorDetail:
        """The same on a device."""
        detail = torch.from_numpy(self.detail).to(device)[None, None] / 127.5
        alpha = None if self.alpha is None else to_tensor(self.alpha[..., None], device)
        return TensorDetail(to_tensor(self.pixels, device), to_tensor(self.fine, device), detail, self.viewport, alpha)


@dataclass(frozen=True)
class TensorDetail:
    """source [1,3,h,w], fine [1,4,2 h,2 w] and alpha [1,1,h,w] in [-1,1], detail [1,1,h,w] in units of theirs."""

    source: Tensor
    fine: Tensor
    detail: Tensor
    viewport: Viewport
    alpha: Tensor | None = None


def prepare_detail(pixels: np.ndarray, viewport: Viewport | None = None) -> Detail:
    """A crop region, uint8 [h,w,3], or with alpha [h,w,4], or the part of it that the viewport shows -> Detail."""
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[-1] == 4 else None
    pixels = np.ascontiguousarray(pixels[..., :3])
    planes, weight = [], np.array([LUMA], np.float32)
    brightness = cv2.transform(pixels.astype(np.float32), weight).reshape(pixels.shape[:2])
    detail = brightness - _blur(brightness, 5, 1.0)
    for plane in (*cv2.split(pixels), detail + DETAIL_OFFSET):  # in 8 bits, sharpening would be lost
        plane = plane.astype(np.float32)
        sharpened = cv2.addWeighted(plane, 1 + SHARPENING, _blur(plane, 3, 0.85), -SHARPENING, 0)
        finer = cv2.resize(sharpened, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_LANCZOS4)
        planes.append(cv2.addWeighted(finer, 1, finer, 0, 0, dtype=cv2.CV_8U))  # rounded and clipped
    viewport = viewport or Viewport.whole(*pixels.shape[:2])
    return Detail(pixels, cv2.merge(planes), detail, viewport, alpha)


def _blur(plane: np.ndarray, size: int, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(plane, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)


def box_mean(field: Tensor, side: int) -> Tensor:
    """Mean of [B,1,h,w] over side x side pixels (odd); at borders only the pixels inside count.

    Equivalent to `F.avg_pool2d(field, side, 1, side // 2, count_include_pad=False)` within rounding, in less time.
    """
    padded = F.pad(field, (side // 2,) * 4)
    sums = sliding_reduce(sliding_reduce(padded, side, 2, torch.add), side, 3, torch.add)
    return sums / window_counts(*field.shape[-2:], side, field.device)


def sliding_reduce(field: Tensor, side: int, axis: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
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
def window_counts(height: int, width: int, side: int, device: torch.device) -> Tensor:
    """How many of the side x side pixels around each pixel lie inside, [height,width]."""
    with torch.inference_mode(False):  # kept for training too
        rows, columns = (
            torch.minimum(torch.arange(n) + side // 2 + 1, torch.tensor(n)) - (torch.arange(n) - side // 2).clamp(min=0)
            for n in (height, width)
        )
        return (rows[:, None] * columns).float().to(device)
