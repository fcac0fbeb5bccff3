"""Where the mouth patch lies in a crop, and how the patches of two frames fit each other.

Letters: B frames, K references, N = 468 landmarks. A placement [.,2,3] takes patch coordinates (u, v, 1), u and v in
-1..1, to crop widths: the patch is a square about the lips, upright with the head, PATCH_SIDE face heights wide.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.decoder.flow import rigid_transform
from anitalker.faces.landmarks import CHIN, INNER_LIPS, LIPS, OUTER_LIPS, face_height, rasterise

PATCH = 128  # pixels along a side
PATCH_SIDE = 0.5  # face heights
EYE_CORNERS = (33, 263)  # outer, right and left
JAW = (CHIN, 148, 377, 176, 400)  # points that move with the lower teeth


def place_patch(landmarks: Tensor) -> Tensor:
    """Landmarks [B,N,>=2] in crop widths -> placements [B,2,3]."""
    points = landmarks[..., :2].float()
    across = F.normalize(points[:, EYE_CORNERS[1]] - points[:, EYE_CORNERS[0]], dim=-1)
    down = torch.stack([-across[:, 1], across[:, 0]], -1)
    half = (PATCH_SIDE / 2) * face_height(points)[:, None]
    return torch.stack([half * across, half * down, points[:, list(LIPS)].mean(1)], -1)


def patch_points(placement: Tensor, size: int = PATCH) -> Tensor:
    """The centres of a patch's size x size pixels in crop widths: placements [...,2,3] -> [...,size,size,2].

    Equivalent to `F.affine_grid`, for any leading dimensions and in less time.
    """
    axis = _pixel_centres(size, placement.device)
    across, down, centre = (column[..., None, None, :] for column in placement.unbind(-1))
    return across * axis[None, :, None] + down * axis[:, None, None] + centre


@functools.lru_cache(maxsize=8)
def _pixel_centres(size: int, device: torch.device) -> Tensor:
    """Of a row of so many pixels, in -1..1: [size]."""
    with torch.inference_mode(False):  # kept for training too
        return (2 * torch.arange(size, device=device) + 1) / size - 1


def cut_patch(pictures: Tensor, placement: Tensor, size: int = PATCH) -> Tensor:
    """Patches of crops: [B,C,H,W] and placements [B,2,3] -> [B,C,size,size]; borders are replicated."""
    return sample(pictures, patch_points(placement, size))


def warp_patch(picture: Tensor, flow: Tensor, placement: Tensor, size: int = PATCH) -> Tensor:
    """Patches of the warped portrait, sampled once: picture [B,C,H,W], flow [B,2,g,g] in crop widths, placements of the
    targets [B,2,3] -> [B,C,size,size]."""
    points = patch_points(placement, size)
    return sample(picture, points + sample(flow, points).permute(0, 2, 3, 1))


def invert(linear: Any) -> Any:
    """The inverse of rotations with a scale [.,2,2], a tensor or an array."""
    return linear.swapaxes(-1, -2) / (linear[..., :1] ** 2).sum((-2, -1))[..., None, None]


def sample(fields: Tensor, points: Tensor) -> Tensor:
    """Fields [B,C,H,W] of a crop at points [B,h,w,2] in crop widths -> [B,C,h,w], bilinear."""
    return F.grid_sample(fields, (2 * points - 1).to(fields.dtype), padding_mode="border", align_corners=False)


def lip_contours(landmarks: Tensor, placement: Tensor, size: int = PATCH) -> Tensor:
    """Contour maps of outer and inner lips in the patch, 0..1: [B,N,>=2] and [B,2,3] -> [B,2,size,size]."""
    points = landmarks[..., :2].float() - placement[:, None, :, 2]
    local = points @ invert(placement[..., :2]).mT  # -1..1
    return rasterise((local + 1) / 2, (OUTER_LIPS, INNER_LIPS), size)


def alignments(references: Tensor, reference_placement: Tensor, landmarks: Tensor, placement: Tensor) -> Tensor:
    """Maps from the patch of a target to that of a reference, with the skull and with the jaw: [B,2,2,3], in -1..1.

    references, landmarks [B,N,>=2]: landmarks of reference and target; their placements [B,2,3]. Upper teeth stay with
    the skull, lower teeth and tongue move with the chin.
    """
    skull = rigid_transform(references, landmarks)  # [B,3,2] from target to reference, in crop widths
    chins = [points[:, list(JAW), :2].float().mean(1) for points in (references, landmarks)]
    drop = chins[0] - (chins[1][:, None] @ skull[:, :2] + skull[:, 2:])[:, 0]
    to_patch = invert(reference_placement[..., :2])
    placed = skull[:, :2].mT @ placement  # [B,2,3]
    placed[..., 2] += skull[:, 2] - reference_placement[..., 2]
    jaw = placed.clone()
    jaw[..., 2] += drop
    return torch.stack([to_patch @ placed, to_patch @ jaw], 1)
