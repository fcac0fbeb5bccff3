"""Landmark flow: a smooth dense displacement that moves a portrait's landmarks to their target positions.

Letters: B frames, P anchors, N = 468 points, H x W pixels. Flow is in crop widths. It is a backward warp: at each
target pixel it gives the displacement to that pixel's source.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
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
from anitalker.runtime.arrays import library, on_host
from anitalker.runtime.smoothstep import smoothstep

FEATURES = OUTER_LIPS + INNER_LIPS + RIGHT_EYE + LEFT_EYE + RIGHT_BROW + LEFT_BROW + FACE_OVAL + NOSE
# Every fifth of the other points keeps cheeks and forehead round when the head turns: +0.13 dB in the face on val.
ANCHORS = FEATURES + tuple(i for i in range(LANDMARKS) if i not in FEATURES)[::5]
PAIRS = LIP_PAIRS + RIGHT_LID_PAIRS + LEFT_LID_PAIRS
SKULL = (33, 133, 362, 263, 168, 6, 197, 195, 2, 94, 98, 327, 97, 326, 129, 358)  # eye corners and nose
UPPER_LIP = (82, 13, 312)  # the middle of its inner edge
CLOSED_GAP = 1.5 / 256  # crop widths that closed lips and eyelids keep between their landmarks
PINS_PER_SIDE = 9
HEAD_RING = (0.65, 0.95)  # face heights from the head's middle to the pins beside and above it; hair lies within
RING_PINS = 11  # to each side of the head, from its top down to the shoulders
RING_ANGLES = (0.12, 0.75)  # half turns from straight up, of the first and of the last of them
RING_SMOOTHING = 0.05  # added to the kernel's diagonal there: hair beyond the ring may move a little
RING_SLACK = 0.05  # face heights by which the face's outline may move until the ring becomes wider
RING_WIDENING = 1.5  # times what it moves beyond
EARS = (234, 454)  # the outline in front of them, deeper in the head than the face is
SQUARE_EPSILON = 1e-12  # square crop widths: keeps the gradient of the square root finite
BAND_ROWS = 16  # rows of the grid that are evaluated at once
KERNEL_OFFSET = 2.0  # crop widths; more than any distance in the picture


@functools.cache
def _constants(device: torch.device | None) -> tuple[Any, ...]:
    """Indices of the anchors, of the upper points of PAIRS, and of the lower ones; points on all four borders, which
    never move, [4 PINS_PER_SIDE,2]; directions of the head's ring, right and down, [2 RING_PINS,2].

    device None: as numpy arrays.
    """
    along, pins = np.arange(PINS_PER_SIDE) / PINS_PER_SIDE, []
    for x, y in ((along, 0 * along), (0 * along + 1, along), (1 - along, 0 * along + 1), (0 * along, 1 - along)):
        pins.append(np.stack([x, y], -1))
    angles = np.linspace(*RING_ANGLES, RING_PINS) * np.pi
    ring = np.stack([np.sin([*angles, *-angles]), -np.cos([*angles, *angles])], -1)
    indices = (np.array(ANCHORS), *(np.array(side) for side in zip(*PAIRS, strict=True)))
    constants = (*indices, np.concatenate(pins).astype(np.float32), ring.astype(np.float32))
    if device is None:
        return constants
    with torch.inference_mode(False):  # kept for training too
        return tuple(torch.from_numpy(constant).to(device) for constant in constants)


def _constants_like(array: Any) -> tuple[Any, ...]:
    return _constants(array.device if isinstance(array, Tensor) else None)


def _norm(vectors: Any) -> Any:
    """Length of vectors [...,2] -> [...,1]."""
    return (vectors * vectors).sum(-1)[..., None] ** 0.5


def _head_ring(source: Any, target: Any) -> Any:
    """Points of the portrait around the head that rest, so that lines behind it stay straight: [B,2 RING_PINS,2].

    Without them the flow would fade up to the borders only, and bend what is behind the head by a fiftieth of the crop
    when it turns. It gives way, at both sides alike, to a head that moves away: its hair and ears move with it.
    """
    xp, outline = library(source), list(FACE_OVAL)
    forehead, chin = source[:, FOREHEAD, :2], source[:, CHIN, :2]
    height = _norm(chin - forehead)  # [B,1]
    down = (chin - forehead) / height.clip(1e-6)
    right = xp.stack([down[:, 1], -down[:, 0]], -1)
    axes = xp.stack([right, down], 1)  # [B,2,2]
    middle, ears = (forehead + chin) / 2, (source[:, EARS[0], :2] + source[:, EARS[1], :2]) / 2
    # A turned head lies to one side of its face, as its ears do.
    centre = middle + ((ears - middle) * right).sum(-1)[:, None] * right
    before, after = (
        (points[:, outline, :2] - centre[:, None]) @ axes.swapaxes(1, 2) / height[:, None]
        for points in (source, target)
    )
    moved = xp.maximum(*(abs(end(after, 1) - end(before, 1)) for end in (xp.amax, xp.amin)))  # [B,2]
    size = RING_WIDENING * (moved - RING_SLACK).clip(0)
    half_axes = xp.stack([size[:, 0] + HEAD_RING[0], size[:, 1] + HEAD_RING[1]], -1)
    directions = _constants_like(source)[4]
    return centre[:, None] + height[:, None] * ((directions * half_axes[:, None]) @ axes)


def separate_closed_pairs(source: Any, target: Any) -> Any:
    """Keep lips and lids that close CLOSED_GAP apart where the portrait shows them open: [B,N,3] twice -> [B,N,3].

    Otherwise the upper and the lower point would coincide but come from two sources, and the flow would follow neither.
    The gap lets the flow compress what lies between them, an eye or a mouth, into a line. Tensors or numpy arrays.
    """
    _, upper, lower, *_ = _constants_like(target)
    source_gap = _norm(source[:, lower, :2] - source[:, upper, :2])
    gap = _norm(target[:, lower, :2] - target[:, upper, :2])
    down = target[:, CHIN, :2] - target[:, FOREHEAD, :2]
    down = (down / _norm(down).clip(1e-12))[:, None]
    step = 0.5 * (source_gap.clip(max=CLOSED_GAP) - gap).clip(0) * down
    moved = target.clone() if isinstance(target, Tensor) else target.copy()
    moved[:, upper, :2] -= step
    moved[:, lower, :2] += step
    return moved


def landmark_flow(source: Tensor, target: Tensor, grid: int, smoothing: float) -> Tensor:
    """Radial basis interpolation of source - target at the target's points: [B,N,3] twice -> flow [B,2,grid,grid].

    The kernel KERNEL_OFFSET - |r| (a linear spline in the plane; Wahba, "Spline models", 1990) is positive definite, so
    that Cholesky solves it. Borders and a ring around the head are pinned, and the flow fades to zero over the outer
    tenth. smoothing: added to the kernel's diagonal.
    """
    with torch.autocast(target.device.type, enabled=False):  # the weights nearly cancel: bfloat16 would leave noise
        return _interpolate(source.float(), target.float(), grid, smoothing)


def _interpolate(source: Tensor, target: Tensor, grid: int, smoothing: float) -> Tensor:
    count, device = len(target), target.device
    centres, values = (torch.as_tensor(points) for points in _centres(*on_host(source, target)))
    kernel = KERNEL_OFFSET - _distances(centres, centres)
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    diagonal.add_(smoothing)
    diagonal[:, -2 * RING_PINS :].add_(RING_SMOOTHING)
    weights = torch.cholesky_solve(values, torch.linalg.cholesky(kernel))  # [B,P,2]
    axis, fade = _grid_axis(grid, device)
    return _evaluate(axis, centres, weights).view(count, 2, grid, grid) * fade


def _centres(source: Any, target: Any) -> tuple[Any, Any]:
    """Where the kernel's P centres lie, and the flow at them: [B,P,2] each, the head's ring last."""
    anchors, _, _, pins, _ = _constants_like(target)
    xp, target = library(target), separate_closed_pairs(source, target)
    ring, moved = _head_ring(source, target), target[:, anchors, :2]
    centres = xp.concatenate([moved, xp.broadcast_to(pins, (len(target), *pins.shape)), ring], 1)
    values = xp.zeros_like(centres)
    values[:, : len(ANCHORS)] = source[:, anchors, :2] - moved
    return centres, values


@functools.lru_cache(maxsize=4)
def _grid_axis(grid: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres of the grid's cells [grid], and how much of the flow is left there [grid,grid]: none at the borders."""
    with torch.inference_mode(False):  # kept for training too
        axis = (torch.arange(grid, device=device) + 0.5) / grid
        fade = smoothstep((torch.minimum(axis, 1 - axis) - 0.5 / grid) / 0.1)  # zero in the outermost cells
        return axis, fade[:, None] * fade


def _evaluate(axis: Tensor, centres: Tensor, weights: Tensor) -> Tensor:
    """(KERNEL_OFFSET - distance) @ weights on the grid axis x axis: centres, weights [B,P,2] -> [B,2,g g].

    Squares of x and y are computed once per row and column, and KERNEL_OFFSET times the weights' sum once. Bands of
    rows stay in the CPU's cache. The product has two rows, not two columns: MKL takes seven times as long for columns.
    """
    dx2 = (axis - centres[..., :1]).square()  # [B,P,g]
    dy2 = (axis - centres[..., 1:]).square() + SQUARE_EPSILON
    bands, weights = [], weights.mT.contiguous()
    for band in dy2.split(BAND_ROWS, 2):
        distances = (band[..., None] + dx2[:, :, None]).sqrt_()  # [B,P,BAND_ROWS,g]
        bands.append(weights @ distances.flatten(2))
    return KERNEL_OFFSET * weights.sum(2, keepdim=True) - torch.cat(bands, 2)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """[B,P,2] and [B,Q,2] -> [B,P,Q]; exact for close points, where the expanded square would cancel."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def rigid_transform(source: Tensor, target: Tensor) -> Tensor:
    """The affine map of what is fixed to the skull: [B,N,>=2] twice -> [B,3,2], [x, y, 1] @ map in crop widths.

    It takes the target's nose and eye corners to the source's (least squares).
    """
    with torch.autocast(target.device.type, enabled=False):
        return torch.as_tensor(_rigid_transform(*on_host(source[..., :2], target[..., :2])))


def _rigid_transform(source: Any, target: Any) -> Any:
    xp, fixed = library(target), list(SKULL)
    points = _homogeneous(target[:, fixed])  # [B,P,3]
    gram = points.swapaxes(1, 2) @ points
    for k in range(3):
        gram[:, k, k] += 1e-6
    return xp.linalg.solve(gram, points.swapaxes(1, 2) @ source[:, fixed])


def _homogeneous(points: Any) -> Any:
    """Points [...,2] -> [...,3]: x, y, 1."""
    return library(points).concatenate([points, library(points).ones_like(points[..., :1])], -1)


def rigid_flow(source: Tensor, target: Tensor, size: int) -> Tensor:
    """The flow of what is fixed to the skull, above all the upper teeth: [B,N,3] twice -> [B,2,size,size], crop widths.

    `rigid_transform`, raised where the upper lip rises, so that the teeth stay behind it.
    """
    with torch.autocast(target.device.type, enabled=False):
        rows, columns, shift = (torch.as_tensor(x) for x in _rigid_planes(*on_host(source[..., :2], target[..., :2])))
        axis = (torch.arange(size, device=target.device) + 0.5) / size
        return (columns[..., None] * axis)[:, :, None] + (rows[..., None] * axis + shift[..., None])[..., None]


def _rigid_planes(source: Any, target: Any) -> tuple[Any, Any, Any]:
    """`rigid_flow` as two planes: slopes down the rows and across the columns, and shift, of x and y, [B,2] each."""
    affine, lips = _rigid_transform(source, target), list(UPPER_LIP)
    down = source[:, CHIN] - source[:, FOREHEAD]
    down = down / _norm(down).clip(1e-12)
    moved = _homogeneous(target[:, lips]) @ affine
    rise = ((source[:, lips] - moved).mean(1) * down).sum(-1)[:, None].clip(0)
    across = library(affine).stack([affine[:, 0, 0] - 1, affine[:, 0, 1]], -1)
    along = library(affine).stack([affine[:, 1, 0], affine[:, 1, 1] - 1], -1)
    return along, across, affine[:, 2] + rise * down


def resize(field: Tensor, size: tuple[int, int]) -> Tensor:
    """[B,C,h,w] -> [B,C,*size], bilinear, without a filter against aliasing."""
    return field if field.shape[-2:] == size else F.interpolate(field, size=size, mode="bilinear", align_corners=False)


def warp(picture: Tensor, flow: Tensor, box: tuple[slice, slice] | None = None) -> Tensor:
    """Sample picture [B,C,H,W] where flow [B,2,H,W] (crop widths) points; borders are replicated.

    box: rows and columns of the picture that the flow and the result cover; None: all of them.
    """
    identity = identity_grid(*picture.shape[-2:], flow.device)
    grid = torch.add(identity if box is None else identity[box], flow.permute(0, 2, 3, 1), alpha=2)
    return F.grid_sample(picture, grid.to(picture.dtype), padding_mode="border", align_corners=False)


@functools.lru_cache(maxsize=8)
def identity_grid(height: int, width: int, device: torch.device) -> Tensor:
    """The sampling grid of zero flow, [height,width,2] in -1..1."""
    with torch.inference_mode(False):  # kept for training too
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        return 2 * torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1) - 1


def fold_mask(flow: Tensor) -> Tensor:
    """1 where the flow [B,2,H,W] folds over itself (Jacobian determinant not positive), else 0: [B,1,H,W]."""
    height, width = flow.shape[-2:]
    dx = torch.gradient(flow, spacing=1 / width, dim=3)[0]
    dy = torch.gradient(flow, spacing=1 / height, dim=2)[0]
    jacobian = (1 + dx[:, :1]) * (1 + dy[:, 1:]) - dy[:, :1] * dx[:, 1:]
    return (jacobian <= 0).float()
