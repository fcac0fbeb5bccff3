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

from anitalker.decoder.iris_shift import Irises, slide, widened
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
IRIS_MARGIN = 0.01  # eye widths that what moves with an iris keeps from the portrait's upper lid
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


def warp_eyelids(
    picture: Tensor,
    warped: Tensor,
    landmark_pair: Tensor,
    viewport: Viewport | None = None,
    irises: Irises | None = None,
) -> Tensor:
    """Portrait [B,C,H,W] of any resolution, the same under the smooth flow [B,C,h,w], landmarks of portrait and target
    [B,2,N,>=2] -> the warped portrait with its eyes as the target's lids show them.

    viewport: the part of the crop that both pictures show; None: all of it. irises: out of their places; None: in them.
    """
    viewport = viewport or Viewport.whole(warped.shape[-2], warped.shape[-1])
    samples = eyelid_samples(on_host(landmark_pair)[0], viewport, None if irises is None else irises.on_host())
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


def eyelid_samples(landmark_pair: Any, viewport: Viewport, irises: Irises | None = None) -> EyelidSamples | None:
    """Landmarks of portrait and target, float32 [B,2,N,>=2], and irises -> where the eyes come from; None where the
    viewport shows none. Tensors, or numpy arrays, which give the same in less time."""
    with torch.autocast("cpu" if isinstance(landmark_pair, np.ndarray) else landmark_pair.device.type, enabled=False):
        return _samples(_Eyes(landmark_pair), viewport, irises)


class _Eyes:
    """Axes and lids of both eyes in portrait and target.

    corner [B,2,E,2]: outer corners; axes [B,2,E,2,2]: rows a and b, as long as the eye is wide; width [B,2,E] in crop
    widths; lids [B,2,E,2,K,2]: upper and lower lid in a and b; opening [B,2,E]: the lids' mean distance in eye widths.
    """

    def __init__(self, landmark_pair: Any) -> None:
        xp = library(landmark_pair)
        indices = LID_INDICES if xp is np else _lid_indices(landmark_pair.device)
        points = landmark_pair[:, :, indices, :2].reshape(-1, 2, 2, 2, len(indices) // 4, 2)  # [B,2,E,2,K,2]
        self.corner, self.axes = points[:, :, :, 0, 0], _axes(points[:, :, :, 0, -1] - points[:, :, :, 0, 0])
        square = (self.axes[..., 0, :] ** 2).sum(-1)
        self.width = square**0.5
        self.inverse = self.axes / square.clip(1e-8)[..., None, None]
        offsets = points - self.corner[..., None, None, :]
        self.lids = offsets @ self.inverse.swapaxes(-1, -2)[:, :, :, None]
        self.opening = (self.lids[..., 1, :, 1] - self.lids[..., 0, :, 1]).mean(-1)


def eye_axes(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Landmarks [...,N,2] -> outer corners [...,E,2] and axes [...,E,2,2], rows a and b, as long as the eye is wide."""
    corner, inner = (landmarks[..., [eye[k] for eye in EYES], :] for k in (0, 1))
    return corner, _axes(inner - corner)


def _axes(along: Any) -> Any:
    """From outer to inner corners [...,2] -> axes [...,2,2]."""
    xp = library(along)
    # Downward in the picture: the left eye's `a` runs to the left.
    across = xp.stack([-along[..., 1], along[..., 0]], -1)
    return xp.stack([along, across * xp.sign(across[..., 1:])], -2)


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


def _samples(eyes: _Eyes, viewport: Viewport, irises: Irises | None) -> EyelidSamples | None:
    """Both eyes inside boxes of one size, n = h w pixels."""
    (height, width), xp = viewport.region, library(eyes.corner)
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
    lids = _Lids(eyes, a, irises)
    above, below = lids.skin(b)
    source_b = xp.stack([above, below, lids.eye(b)], 2)
    pixels = eyes.width[:, 1, :, None, None] * height  # in an eye width
    over, under = (lids.upper - b) * pixels, (b - lids.lower) * pixels  # distances from both lids
    weight = _ramp(a, -FADE_WIDTH, 1 + FADE_WIDTH, FADE_WIDTH) * _ramp(b, -SKIN_ABOVE, SKIN_BELOW, 0.15)
    slid = None
    if irises is not None:
        slid, source_b[:, :, 2] = _slide(eyes, irises, a, source_b[:, :, 2])
    grid = _grid(eyes, a, source_b, viewport, slid)
    if step > 1:  # all but the lids' sharp edges is smooth
        over, under, weight, grid = (_enlarged(field, step, h, w) for field in (over, under, weight, grid))
    over, under = (over + 0.5).clip(0, 1), (under + 0.5).clip(0, 1)
    shares = xp.stack([over, under, (1 - over - under).clip(0)], 2)  # [B,E,3,h,w]
    spans = [viewport.inner(slice(top, top + h), slice(left, left + w)) for top, left in zip(tops, lefts, strict=True)]
    inner_tops, inner_lefts = ([span.start for span in axis] for axis in zip(*spans, strict=True))
    return EyelidSamples(inner_tops, inner_lefts, grid, shares, weight)


class _Lids:
    """Both lids of portrait and target at a [B,E,h,w], in eye widths, and the portrait's b for each b of the target."""

    def __init__(self, eyes: _Eyes, a: Any, irises: Irises | None) -> None:
        self.xp = library(a)
        curves = eyes.lids.swapaxes(1, 2)  # [B,E,2 (portrait, target),2 (upper, lower),K,2]
        curves = curves.reshape(*curves.shape[:2], 4, *curves.shape[4:])
        source_upper, source_lower, upper, lower = _curves_at(curves, a)
        self.lower, self.source_lower = self.xp.maximum(lower, upper), self.xp.maximum(source_lower, source_upper)
        opening = (eyes.opening[:, 1] / eyes.opening[:, 0].clip(1e-4))[..., None, None]  # of the portrait's
        self.shut = (1 - opening).clip(0, 1)
        self.upper = self.lower - (self.lower - upper) * smoothstep(opening, *OPENING_RANGE)
        self.source_upper = source_upper
        self.gap = self.lower - self.upper  # by which the portrait's eye is stretched; gaze does not stretch it
        if irises is not None:
            self.gap = self.gap - widened(irises, a)

    def skin(self, b: Any) -> tuple[Any, Any]:
        """Of the skin above, and of the skin below."""
        upper_skin = self.source_upper - LASH_MARGINS[0] * self.shut
        lower_skin = self.source_lower + LASH_MARGINS[1] * self.shut
        above = -SKIN_ABOVE + (b + SKIN_ABOVE) * (upper_skin + SKIN_ABOVE) / (self.upper + SKIN_ABOVE).clip(1e-3)
        below = SKIN_BELOW - (SKIN_BELOW - b) * (SKIN_BELOW - lower_skin) / (SKIN_BELOW - self.lower).clip(1e-3)
        return self.xp.minimum(above, upper_skin), self.xp.maximum(below, lower_skin)

    def eye(self, b: Any) -> Any:
        """Of the eye."""
        stretch = ((self.source_lower - self.source_upper) / self.gap.clip(1e-4)).clip(max=1)
        return self.source_lower - (self.lower - b) * stretch


def _curves_at(curves: Any, a: Any) -> Any:
    """n curves of each eye [B,E,n,K,2] at a [B,E,h,w]: [n,B,E,h,w], b as `_heights` gives it."""
    count = curves.shape[2]
    if not isinstance(a, Tensor):
        knots = np.maximum.accumulate(curves[..., 0], -1)
        heights = np.empty((count, *a.shape), np.float32)
        for frame, eye, curve in np.ndindex(*curves.shape[:3]):
            values = curves[frame, eye, curve, :, 1]
            heights[curve, frame, eye] = np.interp(a[frame, eye], knots[frame, eye, curve], values)
        return heights
    places = a.flatten(2)[:, :, None].expand(-1, -1, count, -1)
    heights = _heights(curves.flatten(0, 2).contiguous(), places.flatten(0, 2)).view(*a.shape[:2], count, *a.shape[2:])
    return heights.movedim(2, 0)


def _slide(eyes: _Eyes, irises: Irises, a: Any, b: Any) -> tuple[Any, Any]:
    """The portrait's places a, b [B,E,h,w] of the eye, with irises out of theirs: changes of a, and b.

    They stay between the portrait's lids.
    """
    xp = library(a)
    place = irises.place[..., None, None]  # [B,E,2,1,1]
    iris_b = _Lids(eyes, place[:, :, 0], irises).eye(place[:, :, 1])[..., 0, 0]
    across, down = slide(irises, iris_b, a, b)
    upper, lower = _curves_at(eyes.lids[:, 0], a + across)  # of the portrait
    upper = upper + IRIS_MARGIN * irises.share[:, None, None, None]
    return across, xp.minimum(xp.maximum(b + down, upper), xp.maximum(lower, upper))


def _grid(eyes: _Eyes, a: Any, b: Any, viewport: Viewport, slid: Any | None) -> Any:
    """The portrait's a [B,E,h,w] and b [B,E,3,h,w] in -1..1 of the viewport: x and y [B,E,2,3,h,w].

    slid [B,E,h,w]: what is added to the eye's a.
    """
    places = []
    for k, (start, shown, total) in enumerate(viewport.spans[::-1]):
        corner = eyes.corner[:, 0, :, k] * (2 * total / shown) - (2 * start / shown + 1)  # [B,E]
        along, across = (eyes.axes[:, 0, :, axis, k] * (2 * total / shown) for axis in (0, 1))
        skin = a * along[..., None, None] + corner[..., None, None]
        place = skin[:, :, None] + b * across[..., None, None, None]
        if slid is not None:
            place[:, :, 2] += slid * along[..., None, None]
        places.append(place)
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
