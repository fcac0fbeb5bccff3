"""Landmark flow: a smooth dense displacement that moves a portrait's landmarks to their target positions.

Letters: B frames, P anchors, N = 468 points, H x W pixels. Flow is in crop widths. It is a backward warp: at each
target pixel it gives the displacement to that pixel's source.
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
BAND_ROWS = 8  # rows of the grid that are evaluated at once
KERNEL_OFFSET = 2.0  # crop widths; more than any distance in the picture


@functools.cache
def _pins(device: torch.device) -> Tensor:
    """Points on all four borders that never move: [4 * PINS_PER_SIDE, 2]."""
    with torch.inference_mode(False):  # kept for training too
        along = torch.linspace(0, 1, PINS_PER_SIDE + 1, device=device)[:-1]
        zeros, ones = torch.zeros_like(along), torch.ones_like(along)
        sides = [(along, zeros), (ones, along), (1 - along, ones), (zeros, 1 - along)]
        return torch.cat([torch.stack(side, -1) for side in sides])


def _head_ring(source: Tensor, target: Tensor) -> Tensor:
    """Points of the portrait around the head that rest, so that lines behind it stay straight: [B,2 RING_PINS,2].

    Without them the flow would fade up to the borders only, and bend what is behind the head by a fiftieth of the crop
    when it turns. It gives way, at both sides alike, to a head that moves away: its hair and ears move with it.
    """
    forehead, chin, outline = source[:, FOREHEAD, :2], source[:, CHIN, :2], list(FACE_OVAL)
    height = (chin - forehead).norm(dim=-1, keepdim=True)  # [B,1]
    down = (chin - forehead) / height.clamp(min=1e-6)
    axes = torch.stack([torch.stack([down[:, 1], -down[:, 0]], -1), down], 1)  # [B,2,2] rows: right, down
    middle, ears = (forehead + chin) / 2, source[:, list(EARS), :2].mean(1)
    # A turned head lies to one side of its face, as its ears do.
    centre = middle + ((ears - middle) * axes[:, 0]).sum(-1, keepdim=True) * axes[:, 0]
    before, after = (
        (points[:, outline, :2] - centre[:, None]) @ axes.mT / height[:, None] for points in (source, target)
    )
    moved = torch.maximum((after.amax(1) - before.amax(1)).abs(), (after.amin(1) - before.amin(1)).abs())  # [B,2]
    widening = RING_WIDENING * (moved - RING_SLACK).clamp(min=0)
    beside, above = HEAD_RING[0] + widening[:, :1], HEAD_RING[1] + widening[:, 1:]
    angles = torch.linspace(*RING_ANGLES, RING_PINS, device=source.device) * torch.pi
    x = beside * torch.cat([angles.sin(), -angles.sin()])
    y = -above * torch.cat([angles.cos(), angles.cos()])
    return centre[:, None] + height[:, None] * (torch.stack([x, y], -1) @ axes)


@functools.cache
def _point_indices(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the anchors, of the upper points of PAIRS, and of the lower ones."""
    upper, lower = zip(*PAIRS, strict=True)
    with torch.inference_mode(False):  # kept for training too
        return (
            torch.tensor(ANCHORS, device=device),
            torch.tensor(upper, device=device),
            torch.tensor(lower, device=device),
        )


def separate_closed_pairs(source: Tensor, target: Tensor) -> Tensor:
    """Keep lips and lids that close CLOSED_GAP apart where the portrait shows them open: [B,N,3] twice -> [B,N,3].

    Otherwise the upper and the lower point would coincide but come from two sources, and the flow would follow neither.
    The gap lets the flow compress what lies between them, an eye or a mouth, into a line.
    """
    _, upper, lower = _point_indices(target.device)
    source_gap = (source[:, lower, :2] - source[:, upper, :2]).norm(dim=-1, keepdim=True)
    gap = (target[:, lower, :2] - target[:, upper, :2]).norm(dim=-1, keepdim=True)
    down = F.normalize(target[:, CHIN, :2] - target[:, FOREHEAD, :2], dim=-1)[:, None]
    step = 0.5 * (source_gap.clamp(max=CLOSED_GAP) - gap).clamp(min=0) * down
    moved = target.clone()
    moved[:, upper, :2] = target[:, upper, :2] - step
    moved[:, lower, :2] = target[:, lower, :2] + step
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
    target = separate_closed_pairs(source, target)
    anchors = _point_indices(device)[0]
    pins = torch.cat([_pins(device).expand(count, -1, -1), _head_ring(source, target)], 1)
    moved = target[:, anchors, :2]
    centres = torch.cat([moved, pins], 1)  # [B,P,2]
    values = torch.cat([source[:, anchors, :2] - moved, torch.zeros_like(pins)], 1)
    kernel = KERNEL_OFFSET - _distances(centres, centres)
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    diagonal.add_(smoothing)
    diagonal[:, -2 * RING_PINS :].add_(RING_SMOOTHING)
    weights = torch.cholesky_solve(values, torch.linalg.cholesky(kernel))  # [B,P,2]
    axis = (torch.arange(grid, device=device) + 0.5) / grid
    flow = _evaluate(axis, centres, weights)
    fade = smoothstep((torch.minimum(axis, 1 - axis) - 0.5 / grid) / 0.1)  # zero in the outermost cells
    return flow.view(count, 2, grid, grid) * (fade[:, None] * fade)


def _evaluate(axis: Tensor, centres: Tensor, weights: Tensor) -> Tensor:
    """(KERNEL_OFFSET - distance) @ weights on the grid axis x axis: centres, weights [B,P,2] -> [B,2,g g].

    Squares of x and y are computed once per row and column, and KERNEL_OFFSET times the weights' sum once. Bands of
    rows stay in the CPU's cache. The product has two rows, not two columns: MKL takes seven times as long for columns.
    """
    dx2 = (axis[:, None] - centres[:, None, :, 0]).square()  # [B,g,P]
    dy2 = (axis[:, None] - centres[:, None, :, 1]).square() + SQUARE_EPSILON
    bands, weights = [], weights.mT.contiguous()
    for band in dy2.split(BAND_ROWS, 1):
        distances = (band[:, :, None] + dx2[:, None]).sqrt_()  # [B,BAND_ROWS,g,P]
        bands.append(weights @ distances.flatten(1, 2).mT)
    return KERNEL_OFFSET * weights.sum(2, keepdim=True) - torch.cat(bands, 2)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """[B,P,2] and [B,Q,2] -> [B,P,Q]; exact for close points, where the expanded square would cancel."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def rigid_transform(source: Tensor, target: Tensor) -> Tensor:
    """The affine map of what is fixed to the skull: [B,N,>=2] twice -> [B,3,2], [x, y, 1] @ map in crop widths.

    It takes the target's nose and eye corners to the source's (least squares).
    """
    with torch.autocast(target.device.type, enabled=False):
        source, target = source[..., :2].float(), target[..., :2].float()
        fixed, ones = list(SKULL), torch.ones(len(target), len(SKULL), 1, device=target.device)
        points = torch.cat([target[:, fixed], ones], -1)  # [B,P,3]
        gram = points.mT @ points + 1e-6 * torch.eye(3, device=target.device)
        return torch.linalg.solve(gram, points.mT @ source[:, fixed])


def rigid_flow(source: Tensor, target: Tensor, size: int) -> Tensor:
    """The flow of what is fixed to the skull, above all the upper teeth: [B,N,3] twice -> [B,2,size,size], crop widths.

    `rigid_transform`, raised where the upper lip rises, so that the teeth stay behind it.
    """
    with torch.autocast(target.device.type, enabled=False):
        source, target = source[..., :2].float(), target[..., :2].float()
        affine, ones = rigid_transform(source, target), torch.ones(len(target), len(UPPER_LIP), 1, device=target.device)
        down = F.normalize(source[:, CHIN] - source[:, FOREHEAD], dim=-1)
        lips = torch.cat([target[:, list(UPPER_LIP)], ones], -1) @ affine
        rise = ((source[:, list(UPPER_LIP)] - lips).mean(1) * down).sum(-1, keepdim=True).clamp(min=0)
        axis = (torch.arange(size, device=target.device) + 0.5) / size
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        pixels = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3)
        flow = pixels @ affine + (rise * down)[:, None] - pixels[..., :2]
        return flow.mT.unflatten(-1, (size, size))


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
