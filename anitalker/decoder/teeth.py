"""Upper teeth for portraits that show none: where the skull has them, in the colour that teeth have in such light.

Letters: B portraits, N = 468 landmarks. Positions are in crop widths, v in face heights (forehead 10 to chin 152).

A small decoder trained on an hour of video learns the mean of all mouths, which is a dark smear. The look of upper
teeth needs no training: they are fixed to the skull, show a few millimetres below the resting lip, and have the
widths that anatomy gives. Their colour was measured on 536 stills of the training split that show teeth.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import CROP
from anitalker.faces.landmarks import CHIN, FOREHEAD

MOUTH_CORNERS, UPPER_LIP = (78, 308), 13  # inner corners of the mouth; middle of the upper lip's inner edge
SKIN_POINTS = (50, 280, 205, 425, 4)  # cheeks and the tip of the nose, where the skin's luminance is read
TOOTH_LENGTH = 0.032  # face heights (6 mm) that the middle teeth reach below the resting upper lip
CORNER_SHORTENING = 0.35  # share of that by which teeth are shorter at u = 1: the biting edge rises to the corners
ROW_HALF_WIDTH = 0.82  # half mouths to each side where the row of teeth ends in shadow
GAP_POSITIONS = (0.0, 0.33, 0.56, 0.76)  # half mouths from the middle: teeth of 8.5, 6.5, 7.5 mm on an arch of 25 mm
GAP_WIDTH = 0.03  # half mouths, standard deviation
GAP_SHADE = 0.16  # share of the brightness lost in a gap
EDGE_SOFTNESS = 0.006  # face heights over which the biting edge fades
LIP_SHADOW_LENGTH = 0.008  # face heights below the upper lip
LIP_SHADOW_SHADE = 0.25  # share of the brightness lost at the upper lip
# Offset and slope of the teeth's colour against the skin's luminance, both 0..1, for red, green and blue (least
# squares; correlation .5 to .58).
COLOUR_FIT = ((0.508, 0.446), (0.394, 0.449), (0.322, 0.464))


def upper_teeth(picture: Tensor, landmarks: Tensor) -> Tensor:
    """Portraits [B,3,256,256] in [-1,1] and their landmarks [B,N,>=2] in crop widths -> upper teeth [B,4,256,256].

    Channels are RGB in [-1,1] and coverage in 0..1, where the portrait's skull has its teeth.
    """
    points = landmarks[..., :2].float()
    left, right = points[:, MOUTH_CORNERS[0]], points[:, MOUTH_CORNERS[1]]
    half_mouth = 0.5 * (right - left).norm(dim=-1)[:, None, None]
    across = F.normalize(right - left, dim=-1)
    down = torch.stack([-across[:, 1], across[:, 0]], -1)
    height = (points[:, CHIN] - points[:, FOREHEAD]).norm(dim=-1)[:, None, None]
    middle = 0.5 * (left + right)
    middle = middle + ((points[:, UPPER_LIP] - middle) * down).sum(-1, keepdim=True) * down
    axis = (torch.arange(CROP, device=points.device) + 0.5) / CROP
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    offset = torch.stack([x, y], -1) - middle[:, None, None]  # [B,256,256,2]
    u = (offset * across[:, None, None]).sum(-1) / half_mouth
    v = (offset * down[:, None, None]).sum(-1) / height
    gaps = u.new_tensor(GAP_POSITIONS)
    gap = torch.exp(-0.5 * ((u.abs()[..., None] - gaps) / GAP_WIDTH) ** 2).amax(-1)  # 1 between two teeth
    edge = TOOTH_LENGTH * (1 - CORNER_SHORTENING * u * u) - 0.25 * EDGE_SOFTNESS * gap
    coverage = ((edge - v) / EDGE_SOFTNESS + 0.5).clamp(0, 1) * ((ROW_HALF_WIDTH - u.abs()) / 0.2).clamp(0, 1)
    lip_shadow = 1 - LIP_SHADOW_SHADE * (1 - v / LIP_SHADOW_LENGTH).clamp(0, 1)
    shade = (1 - 0.3 * u * u) * (1 - GAP_SHADE * gap) * lip_shadow
    fit = u.new_tensor(COLOUR_FIT)
    colour = fit[:, 0] + fit[:, 1] * skin_luminance(picture, points)[:, None]  # [B,3]
    colour = colour[:, :, None, None] * shade.clamp(min=0)[:, None]
    return torch.cat([2 * colour.clamp(0, 1) - 1, coverage[:, None]], 1)


def skin_luminance(picture: Tensor, points: Tensor) -> Tensor:
    """Median luminance, 0..1, of cheeks and nose: [B,3,H,W] in [-1,1] and points [B,N,2] in crop widths -> [B]."""
    weights = picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]
    luminance = F.avg_pool2d((picture.float() * weights).sum(1, keepdim=True), 5, 1, 2, count_include_pad=False)
    grid = 2 * points[:, list(SKIN_POINTS)][:, None] - 1
    sampled = F.grid_sample(luminance, grid, padding_mode="border", align_corners=False)
    return (sampled.flatten(1).median(1).values + 1) / 2
