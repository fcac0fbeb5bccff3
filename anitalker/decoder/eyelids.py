"""Lids slide over the eye: both eyes drawn from the portrait exactly, where the smooth landmark flow is too coarse.

Letters: B frames, N = 468 landmarks, K = 9 knots along a lid, H x W pixels. Places are in crop widths.

An eye has its own axes: `a` along the line of its corners, 0 at the outer and 1 at the inner one, `b` across it,
downward, both in eye widths. Lids are curves b(a) through the landmarks. Between the target's lids the eye is seen as
it lies behind them: it is covered, not squeezed; only an eye that opens wider than the portrait's stretches. Above the
upper and below the lower lid the skin stretches evenly up to `ABOVE` and `BELOW`, where the motion of the face takes
over. Upper lid, eye and lower lid are sampled each by itself and meet in a line one pixel wide, at any resolution.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.runtime.smoothstep import smoothstep

# Outer corner, inner corner, upper lid and lower lid from the outer to the inner corner.
EYES = (
    (33, 133, (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    (263, 362, (466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
)
ABOVE, BELOW = 0.5, 0.4  # eye widths that the lids' skin is drawn from
SHUT = (0.15, 0.4)  # of the portrait's opening: below the first nothing of the eye is seen, above the second all
MARGINS = (0.0, 0.08)  # eye widths beyond the upper and lower landmarks where, in shut eyes, skin is taken to begin
BESIDE = 0.2  # eye widths beyond the corners over which the lids' flow fades


def warp_eyelids(picture: Tensor, warped: Tensor, marks: Tensor) -> Tensor:
    """Portrait [B,C,H,W], the same under the smooth flow [B,C,H,W], landmarks of portrait and target [B,2,N,>=2] ->
    the warped portrait with its eyes as the target's lids show them."""
    with torch.autocast(warped.device.type, enabled=False):
        return _draw(_Eyes(marks.float()), picture, warped.clone())


class _Eyes:
    """Axes and lids of both eyes in portrait and target, E = 2 each: corner [B,2,E,2], axes [B,2,E,2,2] (rows a and b,
    as long as the eye is wide), width [B,2,E] in crop widths, lids [B,2,E,2,K,2] (upper, lower) in a and b."""

    def __init__(self, marks: Tensor) -> None:
        points = marks[:, :, _places(marks.device), :2].unflatten(2, (2, 2, -1))  # [B,2,E,2,K,2]
        self.corner = points[:, :, :, 0, 0]
        along = points[:, :, :, 0, -1] - self.corner
        # The picture's downward side: the left eye's `a` runs to the left.
        across = torch.stack([-along[..., 1], along[..., 0]], -1)
        self.axes = torch.stack([along, across * torch.sign(across[..., 1:])], -2)
        self.width = along.norm(dim=-1)
        self.inverse = self.axes / self.width.square().clamp(min=1e-8)[..., None, None]
        off = points - self.corner[..., None, None, :]
        self.lids = off @ self.inverse.mT[:, :, :, None]
        # Mean distance of the lids, eye widths.
        self.opening = (self.lids[..., 1, :, 1] - self.lids[..., 0, :, 1]).mean(-1)  # [B,2,E]


@functools.cache
def _places(device: torch.device) -> Tensor:
    """Landmarks of both eyes' upper and lower lids with the corners at their ends, [E 2 K]."""
    rings = [[outer, *lid, inner] for outer, inner, *lids in EYES for lid in lids]
    with torch.inference_mode(False):  # kept for all, training too
        return torch.tensor(rings, device=device).flatten()


def _heights(curves: Tensor, a: Tensor) -> Tensor:
    """Curves [R,K,2] at a [R,n] -> b [R,n], linear between the knots; 0 beyond the corners."""
    knots, values = curves[..., 0].cummax(1).values, curves[..., 1]
    right = torch.searchsorted(knots, a).clamp(1, knots.shape[1] - 1)
    x0, x1, y0, y1 = (some.gather(1, at) for some in (knots, values) for at in (right - 1, right))
    part = ((a - x0) / (x1 - x0).clamp(min=1e-6)).clamp(0, 1)
    return y0 + part * (y1 - y0)


def _draw(eyes: _Eyes, picture: Tensor, warped: Tensor) -> Tensor:
    """Both eyes drawn into `warped`; inside of boxes of one size, n = h w pixels."""
    (height, width), count = warped.shape[-2:], len(warped)
    tops, lefts, h, w = _boxes(eyes, height, width)
    if not h or not w:
        return warped
    device = warped.device
    rows = torch.tensor(tops, device=device)[:, None] + torch.arange(h, device=device)
    columns = torch.tensor(lefts, device=device)[:, None] + torch.arange(w, device=device)
    y, x = (rows + 0.5) / height, (columns + 0.5) / width  # [E,h], [E,w]
    corner, inverse = eyes.corner[:, 1], eyes.inverse[:, 1]
    dx, dy = x - corner[..., :1], y - corner[..., 1:]  # [B,E,w], [B,E,h]
    a, b = (
        (dy * inverse[..., k, 1:])[..., None] + (dx * inverse[..., k, :1])[..., None, :] for k in (0, 1)
    )  # [B,E,h,w]
    curves = eyes.lids.movedim(2, 1)  # [B,E,2 (portrait, target),2 (upper, lower),K,2]
    heights = _heights(curves.flatten(0, 3).contiguous(), a.flatten(2)[:, :, None].expand(-1, -1, 4, -1).flatten(0, 2))
    shown, hung, upper, lower = heights.view(count, 2, 4, h, w).unbind(2)
    lower, hung = torch.maximum(lower, upper), torch.maximum(hung, shown)
    left = (eyes.opening[:, 1] / eyes.opening[:, 0].clamp(min=1e-4))[..., None, None]
    shut, upper = (1 - left).clamp(0, 1), lower - (lower - upper) * smoothstep((left - SHUT[0]) / (SHUT[1] - SHUT[0]))
    skin, bag = shown - MARGINS[0] * shut, hung + MARGINS[1] * shut
    above = -ABOVE + (b + ABOVE) * (skin + ABOVE) / (upper + ABOVE).clamp(min=1e-3)
    below = BELOW - (BELOW - b) * (BELOW - bag) / (BELOW - lower).clamp(min=1e-3)
    eye = hung - (lower - b) * ((hung - shown) / (lower - upper).clamp(min=1e-4)).clamp(max=1)
    pixels = eyes.width[:, 1, :, None, None] * height  # to an eye width
    over, under = ((upper - b) * pixels + 0.5).clamp(0, 1), ((b - lower) * pixels + 0.5).clamp(0, 1)
    shares = torch.stack([over, under, (1 - over - under).clamp(min=0)], 2)  # [B,E,3,h,w]
    where = torch.stack([torch.minimum(above, skin), torch.maximum(below, bag), eye], 2)
    drawn = _sample(eyes, picture, a, where)  # [B,C,E,3,h,w]
    sure = _ramp(a, -BESIDE, 1 + BESIDE, BESIDE) * _ramp(b, -ABOVE, BELOW, 0.15)
    drawn = (drawn * shares[:, None]).sum(3)
    for one in (0, 1):
        here = warped[:, :, tops[one] : tops[one] + h, lefts[one] : lefts[one] + w]
        here.copy_(here + sure[:, None, one] * (drawn[:, :, one] - here))
    return warped


def _sample(eyes: _Eyes, picture: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The picture [B,C,H,W] at the portrait's a [B,E,h,w] and b [B,E,3,h,w] -> [B,C,E,3,h,w]."""
    corner, axes = (2 * part[:, 0, :, None, None, None] for part in (eyes.corner, eyes.axes))  # [B,E,1,1,1,2 or 2,2]
    places = a[:, :, None, ..., None] * axes[..., 0, :] + (b[..., None] * axes[..., 1, :] + (corner - 1))
    flat = places.flatten(1, 3).to(picture)  # [B,E 3 h,w,2]
    seen = F.grid_sample(picture, flat, padding_mode="border", align_corners=False)
    return seen.unflatten(2, b.shape[1:4])


def _ramp(x: Tensor, low: float, high: float, over: float) -> Tensor:
    """1 well inside low..high, 0 outside, smooth over `over`."""
    return smoothstep(torch.minimum(x - low, high - x) / over)


def _boxes(eyes: _Eyes, height: int, width: int) -> tuple[list[int], list[int], int, int]:
    """Where the lids may decide, over the batch: first row and first column of each eye, rows and columns of both."""
    ends = eyes.corner.new_tensor([(a, b) for a in (-BESIDE, 1 + BESIDE) for b in (-ABOVE, BELOW)])
    corners = eyes.corner[:, 1, :, None] + ends @ eyes.axes[:, 1]  # [B,E,4,2]
    low, high = corners.amin((0, 2)).tolist(), corners.amax((0, 2)).tolist()
    spans = []
    for axis, size in ((1, height), (0, width)):
        ends = [
            (max(0, int(a[axis] * size)), min(size, int(b[axis] * size) + 1)) for a, b in zip(low, high, strict=True)
        ]
        length = max(max(0, end - start) for start, end in ends)
        spans.append(([min(max(start, 0), size - length) for start, _ in ends], length))
    (tops, rows), (lefts, columns) = spans
    return tops, lefts, rows, columns
