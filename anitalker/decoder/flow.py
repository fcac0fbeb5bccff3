"""Landmark flow: a smooth dense displacement that carries a portrait's landmarks to where they shall be.

Letters: B frames, P anchors, N = 468 points, H x W pixels. Flow is in crop widths: at a target place it says how far
away the source of that pixel lies (backward warp).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import LANDMARKS
from anitalker.faces.landmarks import (
    CHIN,
    FACE_OVAL,
    FOREHEAD,
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    LEFT_LID_PAIRS,
    LIP_PAIRS,
    NOSE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGHT_LID_PAIRS,
)
from anitalker.runtime.smoothstep import smoothstep

FEATURES = OUTER_LIPS + INNER_LIPS + RIGHT_EYE + LEFT_EYE + RIGHT_BROW + LEFT_BROW + FACE_OVAL + NOSE
# Every fifth of the other points keeps cheeks and forehead round when the head turns: +0.13 dB in the face on val.
ANCHORS = FEATURES + tuple(i for i in range(LANDMARKS) if i not in FEATURES)[::5]
PAIRS = LIP_PAIRS + RIGHT_LID_PAIRS + LEFT_LID_PAIRS
SKULL = (33, 133, 362, 263, 168, 6, 197, 195, 2, 94, 98, 327, 97, 326, 129, 358)  # eye corners and nose
UPPER_LIP = (82, 13, 312)  # its inner middle
SEAM = 1.5 / 256  # crop widths
PINS_PER_SIDE = 9
TINY = 1e-12  # square crop widths: keeps the root's slope finite
BAND = 8  # rows of the grid
REACH = 2.0  # crop widths; more than any distance in the picture


@functools.cache
def _pins(device: torch.device) -> Tensor:
    """Points on all four borders that never move: [4 * PINS_PER_SIDE, 2]."""
    with torch.inference_mode(False):  # kept for all, training too
        along = torch.linspace(0, 1, PINS_PER_SIDE + 1, device=device)[:-1]
        zero, one = torch.zeros_like(along), torch.ones_like(along)
        sides = [(along, zero), (one, along), (1 - along, one), (zero, 1 - along)]
        return torch.cat([torch.stack(side, -1) for side in sides])


@functools.cache
def _points(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the anchors, of the upper points of PAIRS, and of the lower ones."""
    with torch.inference_mode(False):
        return tuple(torch.tensor(some, device=device) for some in (ANCHORS, *zip(*PAIRS, strict=True)))


def part(source: Tensor, target: Tensor) -> Tensor:
    """Keep lips and lids that close SEAM apart where the portrait shows them open; [B,N,3] twice -> target [B,N,3].

    Upper and lower point would come to one place from two sources, and the flow would settle on neither. A seam lets
    it press what lies between them, an eye or a mouth, into a line.
    """
    _, upper, lower = _points(target.device)
    shown = (source[:, lower, :2] - source[:, upper, :2]).norm(dim=-1, keepdim=True)
    gap = (target[:, lower, :2] - target[:, upper, :2]).norm(dim=-1, keepdim=True)
    down = F.normalize(target[:, CHIN, :2] - target[:, FOREHEAD, :2], dim=-1)[:, None]
    step = 0.5 * (shown.clamp(max=SEAM) - gap).clamp(min=0) * down
    moved = target.clone()
    moved[:, upper, :2] = target[:, upper, :2] - step
    moved[:, lower, :2] = target[:, lower, :2] + step
    return moved


def landmark_flow(source: Tensor, target: Tensor, grid: int, smoothing: float) -> Tensor:
    """Radial basis interpolation of source - target, given at the target points; [B,N,3] twice -> flow [B,2,grid,grid].

    Kernel REACH - |r| (a linear spline in the plane; Wahba, "Spline models", 1990), which is positive definite, so that
    Cholesky solves it; borders pinned, faded to nothing over the outer tenth.
    """
    with torch.autocast(target.device.type, enabled=False):  # the weights nearly cancel: bfloat16 would leave noise
        return _interpolate(source.float(), target.float(), grid, smoothing)


def _interpolate(source: Tensor, target: Tensor, grid: int, smoothing: float) -> Tensor:
    count, device = len(target), target.device
    target = part(source, target)
    pins, anchors = _pins(device).expand(count, -1, -1), _points(device)[0]
    ends = target[:, anchors, :2]
    places = torch.cat([ends, pins], 1)  # [B,P,2]
    values = torch.cat([source[:, anchors, :2] - ends, torch.zeros_like(pins)], 1)
    kernel = REACH - _distances(places, places)
    kernel.diagonal(dim1=1, dim2=2).add_(smoothing)
    weights = torch.cholesky_solve(values, torch.linalg.cholesky(kernel))  # [B,P,2]
    axis = (torch.arange(grid, device=device) + 0.5) / grid
    flow = _spread(axis, places, weights)
    fade = smoothstep((torch.minimum(axis, 1 - axis) - 0.5 / grid) / 0.1)  # nothing in the outermost cells
    return flow.view(count, 2, grid, grid) * (fade[:, None] * fade)


def _spread(axis: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """(REACH - distance) @ weights on the grid axis x axis: places [B,P,2], weights [B,P,2] -> [B,2,g g].

    Squares of x and y are taken once per row and column, REACH times the weights' sum once; in bands of rows that stay
    in a processor's cache. The product has two rows, not two columns, which takes MKL seven times as long.
    """
    across = (axis[:, None] - places[:, None, :, 0]).square()  # [B,g,P]
    down = (axis[:, None] - places[:, None, :, 1]).square() + TINY
    parts, weights = [], weights.mT.contiguous()
    for band in down.split(BAND, 1):
        away = (band[:, :, None] + across[:, None]).sqrt_()  # [B,BAND,g,P]
        parts.append(weights @ away.flatten(1, 2).mT)
    return REACH * weights.sum(2, keepdim=True) - torch.cat(parts, 2)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """[B,P,2] and [B,Q,2] -> [B,P,Q]; exact for close points, where the expanded square would cancel."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def rigid_flow(source: Tensor, target: Tensor, size: int) -> Tensor:
    """The flow of what is fixed to the skull, upper teeth above all: [B,N,3] twice -> [B,2,size,size], crop widths.

    The affine map that takes the target's nose and eye corners to the source's (least squares), lifted where the upper
    lip rises, so that the teeth stay behind it.
    """
    with torch.autocast(target.device.type, enabled=False):
        source, target = source[..., :2].float(), target[..., :2].float()
        fixed, ones = list(SKULL), torch.ones(len(target), len(SKULL), 1, device=target.device)
        points = torch.cat([target[:, fixed], ones], -1)  # [B,P,3]
        square = points.mT @ points + 1e-6 * torch.eye(3, device=target.device)
        affine = torch.linalg.solve(square, points.mT @ source[:, fixed])  # [B,3,2]
        down = F.normalize(source[:, CHIN] - source[:, FOREHEAD], dim=-1)
        lips = torch.cat([target[:, list(UPPER_LIP)], ones[:, : len(UPPER_LIP)]], -1) @ affine
        rise = ((source[:, list(UPPER_LIP)] - lips).mean(1) * down).sum(-1, keepdim=True).clamp(min=0)
        axis = (torch.arange(size, device=target.device) + 0.5) / size
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        at = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3)
        flow = at @ affine + (rise * down)[:, None] - at[..., :2]
        return flow.mT.unflatten(-1, (size, size))


def resize(field: Tensor, size: tuple[int, int]) -> Tensor:
    """[B,C,h,w] -> [B,C,*size], bilinear, antialiased only by the network that made it."""
    return field if field.shape[-2:] == size else F.interpolate(field, size=size, mode="bilinear", align_corners=False)


def warp(picture: Tensor, flow: Tensor, box: tuple[slice, slice] | None = None) -> Tensor:
    """Sample picture [B,C,H,W] where flow [B,2,H,W] (crop widths) points; borders repeat. box: the rows and columns of
    the picture that the flow, and the result, are of."""
    still = _still(*picture.shape[-2:], flow.device)
    places = torch.add(still if box is None else still[box], flow.permute(0, 2, 3, 1), alpha=2)
    return F.grid_sample(picture, places.to(picture.dtype), padding_mode="border", align_corners=False)


def grid(flow: Tensor) -> Tensor:
    """Flow [B,2,H,W] in crop widths -> places for grid_sample [B,H,W,2]."""
    return torch.add(_still(*flow.shape[-2:], flow.device), flow.permute(0, 2, 3, 1), alpha=2)


@functools.lru_cache(maxsize=8)
def _still(height: int, width: int, device: torch.device) -> Tensor:
    """The sampling grid of a flow of nothing, [height,width,2] in -1..1."""
    with torch.inference_mode(False):  # made once for all, training too
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        return 2 * torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1) - 1


def fold_mask(flow: Tensor) -> Tensor:
    """1 where the flow [B,2,H,W] folds over itself (Jacobian determinant of the map not positive), else 0:
    [B,1,H,W].
    """
    height, width = flow.shape[-2:]
    dx = torch.gradient(flow, spacing=1 / width, dim=3)[0]
    dy = torch.gradient(flow, spacing=1 / height, dim=2)[0]
    jacobian = (1 + dx[:, :1]) * (1 + dy[:, 1:]) - dy[:, :1] * dx[:, 1:]
    return (jacobian <= 0).float()
