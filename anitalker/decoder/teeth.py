"""Upper teeth for portraits that show none: drawn where the skull has them, in the colour of teeth in such light.

Letters: B portraits, N = 468 landmarks. Places are in crop widths, v in face heights (forehead 10 to chin 152).

A small decoder that was trained on an hour of video learns the mean of all mouths, which is a dark smear. What upper
teeth look like is known without training: they hang from the skull, show a few millimetres below the resting lip, and
are as wide as anatomy says. Their colour was measured on 536 stills of the training split that show teeth.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import CROP
from anitalker.faces.landmarks import CHIN, FOREHEAD

CORNERS, UPPER = (78, 308), 13  # inner corners of the mouth; the upper lip's inner middle
CHEEKS = (50, 280, 205, 425, 4)  # where the skin's brightness is read, with the tip of the nose
LENGTH = 0.032  # face heights (6 mm) that the middle teeth reach below the resting upper lip
SHORTER = 0.35  # times that at u = 1: the biting edge rises to the corners
WIDEST = 0.82  # half mouths to each side where the row of teeth ends in shadow
GAPS = (0.0, 0.33, 0.56, 0.76)  # half mouths from the middle: widths 8.5, 6.5, 7.5 mm along an arch of 25 mm radius
GAP = (0.03, 0.16)  # half mouths; how much darker
EDGE = 0.006  # face heights over which the biting edge softens
LIP_SHADOW = (0.008, 0.25)  # face heights below the upper lip; how much darker
# Teeth against the skin's luminance, both 0..1 (least squares; correlation .5 to .58), for red, green and blue.
COLOUR = ((0.508, 0.446), (0.394, 0.449), (0.322, 0.464))


def upper_teeth(picture: Tensor, landmarks: Tensor) -> Tensor:
    """Portraits [B,3,256,256] in [-1,1] and their landmarks [B,N,>=2] -> teeth where the portrait's skull has them,
    [B,4,256,256]: colour in [-1,1] and coverage in 0..1."""
    points = landmarks[..., :2].float()
    left, right = points[:, CORNERS[0]], points[:, CORNERS[1]]
    half = 0.5 * (right - left).norm(dim=-1)[:, None, None]
    across = F.normalize(right - left, dim=-1)
    down = torch.stack([-across[:, 1], across[:, 0]], -1)
    height = (points[:, CHIN] - points[:, FOREHEAD]).norm(dim=-1)[:, None, None]
    middle = 0.5 * (left + right)
    middle = middle + ((points[:, UPPER] - middle) * down).sum(-1, keepdim=True) * down
    axis = (torch.arange(CROP, device=points.device) + 0.5) / CROP
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    off = torch.stack([x, y], -1) - middle[:, None, None]  # [B,256,256,2]
    u = (off * across[:, None, None]).sum(-1) / half
    v = (off * down[:, None, None]).sum(-1) / height
    gaps = u.new_tensor(GAPS)
    near = torch.exp(-0.5 * ((u.abs()[..., None] - gaps) / GAP[0]) ** 2).amax(-1)  # 1 between two teeth
    edge = LENGTH * (1 - SHORTER * u * u) - 0.25 * EDGE * near
    coverage = ((edge - v) / EDGE + 0.5).clamp(0, 1) * ((WIDEST - u.abs()) / 0.2).clamp(0, 1)
    shade = (1 - 0.3 * u * u) * (1 - GAP[1] * near) * (1 - LIP_SHADOW[1] * (1 - v / LIP_SHADOW[0]).clamp(0, 1))
    table = u.new_tensor(COLOUR)
    colour = table[:, 0] + table[:, 1] * skin_luminance(picture, points)[:, None]  # [B,3]
    colour = colour[:, :, None, None] * shade.clamp(min=0)[:, None]
    return torch.cat([2 * colour.clamp(0, 1) - 1, coverage[:, None]], 1)


def skin_luminance(picture: Tensor, points: Tensor) -> Tensor:
    """Median luminance, 0..1, of cheeks and nose: [B,3,H,W] in [-1,1] and [B,N,2] -> [B]."""
    weights = picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]
    grey = F.avg_pool2d((picture.float() * weights).sum(1, keepdim=True), 5, 1, 2, count_include_pad=False)
    at = 2 * points[:, list(CHEEKS)][:, None] - 1
    seen = F.grid_sample(grey, at, padding_mode="border", align_corners=False)
    return (seen.flatten(1).median(1).values + 1) / 2
