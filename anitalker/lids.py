"""Lids slide over the eye: both eyes drawn from the portrait exactly, where the smooth landmark flow is too coarse.

Letters: B frames, N = 468 landmarks, K = 9 knots along a lid, H x W pixels. Places are in crop widths.

An eye has its own axes: `a` along the line of its corners, 0 at the outer and 1 at the inner one, `b` across it,
downward, both in eye widths. Lids are curves b(a) through the landmarks. Between the target's lids the eye is seen as
it lies behind them: it is covered, not squeezed; only an eye that opens wider than the portrait's stretches. Above the
upper and below the lower lid the skin stretches evenly up to `ABOVE` and `BELOW`, where the motion of the face takes
over. Upper lid, eye and lower lid are sampled each by itself and meet in a line one pixel wide, at any resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Outer corner, inner corner, upper lid and lower lid from the outer to the inner corner.
EYES = (
    (33, 133, (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    (263, 362, (466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
)
ABOVE, BELOW = 0.5, 0.4  # eye widths that the lids' skin is drawn from
SHUT = (0.15, 0.4)  # of the portrait's opening: below the first nothing of the eye is seen, above the second all
MARGINS = (0.0, 0.08)  # eye widths beyond the upper and lower landmarks where, in shut eyes, skin is taken to begin
BESIDE = 0.2  # eye widths beyond the corners over which the lids' flow fades


def slide(picture: Tensor, warped: Tensor, marks: Tensor) -> Tensor:
    """Portrait [B,3,H,W], the same under the smooth flow [B,3,H,W], landmarks of portrait and target [B,2,N,>=2] ->
    the warped portrait with its eyes as the target's lids show them."""
    with torch.autocast(warped.device.type, enabled=False):
        warped, (source, target) = warped.clone(), marks.float().unbind(1)
        for eye in EYES:
            _one_eye(_Eye(source, eye), _Eye(target, eye), picture, warped)
    return warped


class _Eye:
    """Axes and lids of one eye in B pictures: corner [B,2], axes [B,2,2] (rows a and b, as long as the eye is wide)."""

    def __init__(self, points: Tensor, eye: tuple) -> None:
        outer, inner, upper, lower = eye
        points = points[..., :2]
        self.corner = points[:, outer]
        along = points[:, inner] - self.corner
        # The picture's downward side: the left eye's `a` runs to the left.
        across = torch.stack([-along[:, 1], along[:, 0]], -1)
        self.axes = torch.stack([along, across * torch.sign(across[:, 1:])], 1)
        self.upper, self.lower = (self._curve(points, [outer, *lid, inner]) for lid in (upper, lower))

    def local(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Places [B,...,2] -> a and b [B,...]."""
        shape = (len(places), *(1,) * (places.ndim - 2), 2)
        off = places - self.corner.reshape(shape)
        square = self.width().square().clamp(min=1e-8).reshape(shape[:-1])
        return tuple((off * self.axes[:, k].reshape(shape)).sum(-1) / square for k in (0, 1))

    def sample(self, picture: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """The picture [B,3,H,W] at a and b [B,h,w] -> [B,3,h,w]."""
        across, down = (axis[:, None, None] for axis in self.axes.unbind(1))
        places = self.corner[:, None, None] + a[..., None] * across + b[..., None] * down
        return F.grid_sample(picture, (2 * places - 1).to(picture), padding_mode="border", align_corners=False)

    def width(self) -> Tensor:
        """Corner to corner [B], crop widths."""
        return self.axes[:, 0].norm(dim=-1)

    def opening(self) -> Tensor:
        """Mean distance of the lids [B], eye widths."""
        return (self.lower[..., 1] - self.upper[..., 1]).mean(1)

    def _curve(self, points: Tensor, ring: list[int]) -> Tensor:
        return torch.stack(self.local(points[:, ring]), -1)  # [B,K,2]


def _height(curve: Tensor, a: Tensor) -> Tensor:
    """A lid [B,K,2] at a [B,H,W] -> b [B,H,W], linear between the knots; 0 beyond the corners."""
    knots, values = curve[..., 0].cummax(1).values.contiguous(), curve[..., 1]
    flat = a.flatten(1).contiguous()
    right = torch.searchsorted(knots, flat).clamp(1, knots.shape[1] - 1)
    x0, x1 = knots.gather(1, right - 1), knots.gather(1, right)
    y0, y1 = values.gather(1, right - 1), values.gather(1, right)
    part = ((flat - x0) / (x1 - x0).clamp(min=1e-6)).clamp(0, 1)
    return (y0 + part * (y1 - y0)).view_as(a)


def _one_eye(source: _Eye, target: _Eye, picture: Tensor, warped: Tensor) -> None:
    """Draw one eye into `warped`."""
    height, width = warped.shape[-2:]
    rows, columns = _box(target, height, width)
    y = (torch.arange(rows.start, rows.stop, device=warped.device) + 0.5) / height
    x = (torch.arange(columns.start, columns.stop, device=warped.device) + 0.5) / width
    if not len(y) or not len(x):
        return
    a, b = target.local(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).expand(len(warped), -1, -1, -1))
    upper, lower = _height(target.upper, a), _height(target.lower, a)
    shown, hung = _height(source.upper, a), _height(source.lower, a)
    lower, hung = torch.maximum(lower, upper), torch.maximum(hung, shown)
    left = (target.opening() / source.opening().clamp(min=1e-4))[:, None, None]
    shut, upper = (1 - left).clamp(0, 1), lower - (lower - upper) * _smooth((left - SHUT[0]) / (SHUT[1] - SHUT[0]))
    skin, bag = shown - MARGINS[0] * shut, hung + MARGINS[1] * shut
    above = -ABOVE + (b + ABOVE) * (skin + ABOVE) / (upper + ABOVE).clamp(min=1e-3)
    below = BELOW - (BELOW - b) * (BELOW - bag) / (BELOW - lower).clamp(min=1e-3)
    eye = hung - (lower - b) * ((hung - shown) / (lower - upper).clamp(min=1e-4)).clamp(max=1)
    pixels = target.width()[:, None, None] * height  # to an eye width
    over, under = ((upper - b) * pixels + 0.5).clamp(0, 1), ((b - lower) * pixels + 0.5).clamp(0, 1)
    parts = ((over, above.clamp(max=skin)), (under, below.clamp(min=bag)), ((1 - over - under).clamp(min=0), eye))
    drawn = sum(share[:, None] * source.sample(picture, a, where) for share, where in parts)
    sure = _ramp(a, -BESIDE, 1 + BESIDE, BESIDE) * _ramp(b, -ABOVE, BELOW, 0.15)
    here = warped[:, :, rows, columns]
    warped[:, :, rows, columns] = here + sure[:, None] * (drawn - here)


def _ramp(x: Tensor, low: float, high: float, over: float) -> Tensor:
    """1 well inside low..high, 0 outside, smooth over `over`."""
    return _smooth(torch.minimum(x - low, high - x) / over)


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def _box(eye: _Eye, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns in which the lids may decide, over the batch."""
    ends = [(a, b) for a in (-BESIDE, 1 + BESIDE) for b in (-ABOVE, BELOW)]
    corners = torch.stack([eye.corner + a * eye.axes[:, 0] + b * eye.axes[:, 1] for a, b in ends], 1)  # [B,4,2]
    (left, top), (right, bottom) = corners.amin((0, 1)).tolist(), corners.amax((0, 1)).tolist()
    return (
        slice(max(0, int(top * height)), min(height, int(bottom * height) + 1)),
        slice(max(0, int(left * width)), min(width, int(right * width) + 1)),
    )
