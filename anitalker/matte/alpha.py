"""The matte of a picture: the network's, brought to the picture's size along the picture's own edges.

Letters: H x W pixels of the picture. Alpha is float32 [H,W] in 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from anitalker.matte.network import STRIDE, MatteNetwork
from anitalker.runtime.bfloat16 import in_bfloat16
from anitalker.runtime.device import draws_in_bfloat16
from anitalker.runtime.transfer import to_tensor

GUIDED_SHARE = 0.012  # radius of the guided filter, of the network's longer side
GUIDED_EPSILON = 2e-4  # of brightness in 0..1: less variance than that is no edge
ISLAND_SHARE = 0.05  # of the largest part's area: smaller ones are nobody
HOLE_SHARE, DOUBT = 0.08, 0.04  # of the picture: larger holes stay; mean alpha of a hole that is not sure to be one
CERTAIN = (0.03, 0.97)  # alpha below and above which becomes 0 and 1


@torch.inference_mode()
def find_matte(network: MatteNetwork, picture: np.ndarray) -> np.ndarray:
    """Return the alpha of a picture, uint8 [H,W,3]."""
    height, width = picture.shape[:2]
    scale = network.config.size / max(height, width)
    sides = [max(STRIDE, STRIDE * round(scale * side / STRIDE)) for side in (width, height)]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, sides, interpolation=method)
    device = next(network.parameters()).device
    use_bfloat16 = draws_in_bfloat16(device, network.config.channels[0])
    with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
        used = in_bfloat16(network) if use_bfloat16 and device.type == "cpu" else network
        coarse = torch.sigmoid(used(to_tensor(small, device)).float())[0, 0].cpu().numpy()
    return refine(picture, small, tidy(coarse))


def tidy(alpha: np.ndarray) -> np.ndarray:
    """Take islands away from alpha [h,w], and fill doubtful holes, also those that are open to the lower edge alone:
    there a portrait shows clothes, not background."""
    alpha = alpha.copy()
    count, numbers, facts, _ = cv2.connectedComponentsWithStats((alpha >= 0.5).astype(np.uint8))
    areas = facts[:, cv2.CC_STAT_AREA]
    for number in range(1, count):
        if areas[number] < ISLAND_SHARE * areas[1:].max():
            alpha[_around(numbers == number)] = 0
    height, width = alpha.shape
    count, numbers, facts, _ = cv2.connectedComponentsWithStats((alpha < 0.5).astype(np.uint8))
    for number in range(1, count):
        left, top, wide, _, area = facts[number]
        hole = numbers == number
        is_enclosed = left > 0 and left + wide < width and top > 0
        if is_enclosed and area < HOLE_SHARE * height * width and alpha[hole].mean() > DOUBT:
            alpha[_around(hole)] = 1
    return alpha


def _around(part: np.ndarray) -> np.ndarray:
    """A part of a picture, bool [h,w], and its soft edge."""
    return cv2.dilate(part.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def refine(picture: np.ndarray, small: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """Bring alpha [h,w] of a reduced picture, uint8 [h,w,3], to the size of the picture, uint8 [H,W,3].

    Fast guided filter (He and Sun 2015) with the colours as guide: its linear model of alpha is found in the reduced
    picture and applied to the whole one.
    """
    guide = small.astype(np.float32) / 255
    radius = max(1, round(GUIDED_SHARE * max(coarse.shape)))
    slopes, offset = _linear_model(guide, coarse, radius)
    height, width = picture.shape[:2]
    large = [cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in (slopes, offset)]
    alpha = (large[0] * (picture.astype(np.float32) / 255)).sum(-1) + large[1]
    low, high = CERTAIN
    return np.clip((alpha - low) / (high - low), 0, 1)


def _linear_model(guide: np.ndarray, alpha: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes [h,w,3] and offset [h,w] by which colours give alpha around each pixel."""
    side = (2 * radius + 1,) * 2
    mean_guide, mean_alpha = cv2.blur(guide, side), cv2.blur(alpha, side)
    covariance = cv2.blur(guide * alpha[..., None], side) - mean_guide * mean_alpha[..., None]
    products = np.stack([guide[..., i] * guide[..., j] for i in range(3) for j in range(3)], -1)
    means = np.stack([mean_guide[..., i] * mean_guide[..., j] for i in range(3) for j in range(3)], -1)
    blurred = cv2.merge([cv2.blur(plane, side) for plane in cv2.split(products)])
    variance = (blurred - means).reshape(*alpha.shape, 3, 3) + GUIDED_EPSILON * np.eye(3, dtype=np.float32)
    slopes = np.linalg.solve(variance, covariance[..., None])[..., 0]
    offset = mean_alpha - (slopes * mean_guide).sum(-1)
    return cv2.blur(slopes, side), cv2.blur(offset, side)
