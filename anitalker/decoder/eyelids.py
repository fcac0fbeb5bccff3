"""Eyelids: both eyes are drawn exactly from the portrait, because the smooth landmark flow is too coarse for them.

Letters: B frames, N = 468 landmarks, E = 2 eyes, K = 9 knots along a lid, H x W pixels of the part of the crop that is
drawn. Positions are in crop widths.

Each eye has its axes: `a` along the line of its corners, 0 at the outer and 1 at the inner corner, and `b` across it,
downward, both in eye widths. Lids are curves b(a) through the landmarks. Between the target's lids the eye is shown
at its place behind them: lids cover it and do not squeeze it. Only an eye that opens wider than the portrait's is
stretched. The skin above the upper and below the lower lid stretches evenly up to SKIN_ABOVE and SKIN_BELOW; beyond,
the motion of the face takes over. Upper lid, eye and lower lid are sampled separately and meet in a line one pixel
wide, at any resolution.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.decoder.viewport import Viewport
from anitalker.runtime.arrays import library, on_host
from anitalker.runtime.smoothstep import smoothstep

# Outer corner, inner corner, upper lid and lower lid from the outer to the inner corner.
EYES = (
    (33, 133, (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    (263, 362, (466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
)
SKIN_ABOVE, SKIN_BELOW = 0.5, 0.4  # eye widths from which the lids' skin is taken
OPENING_RANGE = (0.15, 0.4)  # of the portrait's opening: below the first no eye is seen, above the second all of it
LASH_MARGINS = (0.0, 0.08)  # eye widths beyond the upper and lower landmarks where the skin of shut lids begins
MAX_SIDE = 192  # pixels of a box that are computed along a side; larger ones are interpolated
FADE_WIDTH = 0.2  # eye widths beyond the corners over which the lids' motion fades
# Landmarks of both eyes' upper and lower lids with the corners at their ends, E 2 K.
LID_INDICES = [index for outer, inner, *lids in EYES for lid in lids for index in (outer, *lid, inner)]


@dataclass(frozen=True)
class EyelidSamples:
    """Where the eyes of B frames come from; each eye has a box of h x w pixels in the viewport.

    tops, lefts [E]: its first row and column; grid [B,E,2,3,h,w], x and y in -1..1 of the viewport: the portrait's
    places of upper lid, lower lid and eye; shares [B,E,3,h,w]: of each, with a sum of one; weight [B,E,h,w]: of all.
    Tensors, or numpy arrays.
    """

    tops: list[int]
    lefts: list[int]
    grid: Any
    shares: Any
    weight: Any

    def box(self, eye: int) -> tuple[slice, slice]:
        """Rows and columns of an eye's box."""
        height, width = self.weight.shape[-2:]
        return slice(self.tops[eye], self.tops[eye] + height), slice(self.lefts[eye], self.lefts[eye] + width)


def warp_eyelids(picture: Tensor, warped: Tensor, landmark_pair: Tensor, viewport: Viewport | None = None) -> Tensor:
    """Portrait [B,C,H,W] of any resolution, the same under the smooth flow [B,C,h,w], landmarks of portrait and target
    [B,2,N,>=2] -> the warped portrait with its eyes as the target's lids show them.

    viewport: the part of the crop that both pictures show; None: all of it.
    """
    viewport = viewport or Viewport.whole(warped.shape[-2], warped.shape[-1])
    samples = eyelid_samples(*on_host(landmark_pair), viewport)
    if samples is None:
        return warped
    grid, shares, weight = (torch.as_tensor(field) for field in (samples.grid, samples.shares, samples.weight))
    grid, warped = grid.movedim(2, -1).flatten(1, 3), warped.clone()  # [B,E 3 h,w,2]
    looked = F.grid_sample(picture, grid.to(picture), padding_mode="border", align_corners=False)
    drawn = (looked.unflatten(2, shares.shape[1:4]) * shares[:, None]).sum(3)  # [B,C,E,h,w]
    for eye in range(len(EYES)):
        rows, columns = samples.box(eye)
        box = warped[:, :, rows, columns]
        box.copy_(box + weight[:, None, eye] * (drawn[:, :, eye] - box))
    return warped


def eyelid_samples(landmark_pair: Any, viewport: Viewport) -> EyelidSamples | None:
    """Landmarks of portrait and target, float32 [B,2,N,>=2] -> where the eyes come from; None where the viewport shows
    none. A tensor, or a numpy array, which gives the same in less time."""
    with torch.autocast("cpu" if isinstance(landmark_pair, np.ndarray) else landmark_pair.device.type, enabled=False):
        return _samples(_Eyes(landmark_pair), viewport)


class _Eyes:
    """Axes and lids of both eyes in portrait and target.

    corner [B,2,E,2]: outer corners; axes [B,2,E,2,2]: rows a and b, as long as the eye is wide; width [B,2,E] in crop
    widths; lids [B,2,E,2,K,2]: upper and lower lid in a and b; opening [B,2,E]: the lids' mean distance in eye widths.
    """

    def __init__(self, landmark_pair: Any) -> None:
        xp = library(landmark_pair)
        indices = LID_INDICES if xp is np else _lid_indices(landmark_pair.device)
        points = landmark_pair[:, :, indices, :2].reshape(-1, 2, 2, 2, len(indices) // 4, 2)  # [B,2,E,2,K,2]
        self.corner = points[:, :, :, 0, 0]
        along = points[:, :, :, 0, -1] - self.corner
        # Downward in the picture: the left eye's `a` runs to the left.
        across = xp.stack([-along[..., 1], along[..., 0]], -1)
        self.axes = xp.stack([along, across * xp.sign(across[..., 1:])], -2)
        square = (along * along).sum(-1)
        self.width = square**0.5
        self.inverse = self.axes / square.clip(1e-8)[..., None, None]
        offsets = points - self.corner[..., None, None, :]
        self.lids = offsets @ self.inverse.swapaxes(-1, -2)[:, :, :, None]
        self.opening = (self.lids[..., 1, :, 1] - self.lids[..., 0, :, 1]).mean(-1)


@functools.cache
def _lid_indices(device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept for training too
        return torch.tensor(LID_INDICES, device=device)


def _heights(curves: Tensor, a: Tensor) -> Tensor:
    """Curves [R,K,2] at a [R,n] -> b [R,n], linear between the knots; 0 beyond the corners."""
    knots, values = curves[..., 0].cummax(1).values, curves[..., 1]
    right = torch.searchsorted(knots, a).clamp(1, knots.shape[1] - 1)
    x0, x1, y0, y1 = (table.gather(1, index) for table in (knots, values) for index in (right - 1, right))
    fraction = ((a - x0) / (x1 - x0).clamp(min=1e-6)).clamp(0, 1)
    return y0 + fraction * (y1 - y0)


def _samples(eyes: _Eyes, viewport: Viewport) -> EyelidSamples | None:
    """Both eyes inside boxes of one size, n = h w pixels."""
    (height, width), count, xp = viewport.region, len(eyes.corner), library(eyes.corner)
    tops, lefts, h, w = _boxes(eyes, viewport)
    if not h or not w:
        return None
    step = -(-max(h, w) // MAX_SIDE)  # of the pixels that are computed
    rows, columns = (
        (np.array(starts)[:, None] + step * (np.arange(-(-length // step)) + 0.5)) / size
        for starts, length, size in ((tops, h, height), (lefts, w, width))
    )
    y, x = (xp.asarray(centres.astype(np.float32)) for centres in (rows, columns))  # [E,h], [E,w]
    if xp is torch:
        y, x = y.to(eyes.corner.device), x.to(eyes.corner.device)
    corner, inverse = eyes.corner[:, 1], eyes.inverse[:, 1]
    dx, dy = x - corner[..., :1], y - corner[..., 1:]  # [B,E,w], [B,E,h]
    a, b = (
        (dy * inverse[..., k, 1:])[..., None] + (dx * inverse[..., k, :1])[..., None, :] for k in (0, 1)
    )  # [B,E,h,w]
    curves = torch.as_tensor(eyes.lids).movedim(2, 1)  # [B,E,2 (portrait, target),2 (upper, lower),K,2]
    places = torch.as_tensor(a).flatten(2)[:, :, None].expand(-1, -1, 4, -1)
    heights = _heights(curves.flatten(0, 3).contiguous(), places.flatten(0, 2)).view(count, 2, 4, *a.shape[2:])
    source_upper, source_lower, upper, lower = (
        (heights if xp is torch else heights.numpy()).swapaxes(0, 2).swapaxes(1, 2)
    )
    lower, source_lower = xp.maximum(lower, upper), xp.maximum(source_lower, source_upper)
    opening = (eyes.opening[:, 1] / eyes.opening[:, 0].clip(1e-4))[..., None, None]  # of the portrait's
    shut = (1 - opening).clip(0, 1)
    upper = lower - (lower - upper) * smoothstep(opening, *OPENING_RANGE)
    upper_skin, lower_skin = source_upper - LASH_MARGINS[0] * shut, source_lower + LASH_MARGINS[1] * shut
    # The portrait's b for each b of the target: on the skin above, the skin below, and the eye.
    above = -SKIN_ABOVE + (b + SKIN_ABOVE) * (upper_skin + SKIN_ABOVE) / (upper + SKIN_ABOVE).clip(1e-3)
    below = SKIN_BELOW - (SKIN_BELOW - b) * (SKIN_BELOW - lower_skin) / (SKIN_BELOW - lower).clip(1e-3)
    stretch = ((source_lower - source_upper) / (lower - upper).clip(1e-4)).clip(max=1)
    eye = source_lower - (lower - b) * stretch
    pixels = eyes.width[:, 1, :, None, None] * height  # in an eye width
    over, under = (upper - b) * pixels, (b - lower) * pixels  # distances from both lids
    source_b = xp.stack([xp.minimum(above, upper_skin), xp.maximum(below, lower_skin), eye], 2)
    weight = _ramp(a, -FADE_WIDTH, 1 + FADE_WIDTH, FADE_WIDTH) * _ramp(b, -SKIN_ABOVE, SKIN_BELOW, 0.15)
    grid = _grid(eyes, a, source_b, viewport)
    if step > 1:  # all but the lids' sharp edges is smooth
        over, under, weight, grid = (_enlarged(field, step, h, w) for field in (over, under, weight, grid))
    over, under = (over + 0.5).clip(0, 1), (under + 0.5).clip(0, 1)
    shares = xp.stack([over, under, (1 - over - under).clip(0)], 2)  # [B,E,3,h,w]
    spans = [viewport.inner(slice(top, top + h), slice(left, left + w)) for top, left in zip(tops, lefts, strict=True)]
    inner_tops, inner_lefts = ([span.start for span in axis] for axis in zip(*spans, strict=True))
    return EyelidSamples(inner_tops, inner_lefts, grid, shares, weight)


def _grid(eyes: _Eyes, a: Any, b: Any, viewport: Viewport) -> Any:
    """The portrait's a [B,E,h,w] and b [B,E,3,h,w] in -1..1 of the viewport: x and y [B,E,2,3,h,w]."""
    places = []
    for k, (start, shown, total) in enumerate(viewport.spans[::-1]):
        corner = eyes.corner[:, 0, :, k] * (2 * total / shown) - (2 * start / shown + 1)  # [B,E]
        along, across = (eyes.axes[:, 0, :, axis, k] * (2 * total / shown) for axis in (0, 1))
        skin = a * along[..., None, None] + corner[..., None, None]
        places.append(skin[:, :, None] + b * across[..., None, None, None])
    return library(a).stack(places, 2)


def _enlarged(field: Any, step: int, height: int, width: int) -> Any:
    """Fields [...,h/step,w/step], rounded up -> [...,h,w]."""
    channels = torch.as_tensor(field).flatten(0, -3)[None]
    channels = F.interpolate(channels, scale_factor=step, mode="bilinear")[0, :, :height, :width]
    channels = channels if isinstance(field, Tensor) else channels.numpy()
    return channels.reshape(*field.shape[:-2], height, width)


def _ramp(x: Any, low: float, high: float, width: float) -> Any:
    """1 well inside low..high, 0 outside, smooth over `width` at both ends."""
    return smoothstep(library(x).minimum(x - low, high - x), 0, width)


def _boxes(eyes: _Eyes, viewport: Viewport) -> tuple[list[int], list[int], int, int]:
    """Boxes around the lids' skin over the batch: first row and first column of each eye, rows and columns of both.

    They lie in the viewport, and are counted from the corner of its region.
    """
    extent = np.array([(a, b) for a in (-FADE_WIDTH, 1 + FADE_WIDTH) for b in (-SKIN_ABOVE, SKIN_BELOW)])
    corner, axes = (np.asarray(field[:, 1].tolist()) for field in (eyes.corner, eyes.axes))
    corners = corner[:, :, None] + extent @ axes  # [B,E,4,2]
    low, high = corners.min((0, 2)), corners.max((0, 2))
    spans = []
    for axis, (first, shown, size) in zip((1, 0), viewport.spans, strict=True):
        ends = [
            (max(first, int(a[axis] * size)), min(first + shown, int(b[axis] * size) + 1))
            for a, b in zip(low, high, strict=True)
        ]
        length = max(max(0, end - start) for start, end in ends)
        spans.append(([min(max(start, first), first + shown - length) for start, _ in ends], length))
    (tops, rows), (lefts, columns) = spans
    return tops, lefts, rows, columns
