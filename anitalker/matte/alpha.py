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
CERTAIN = (0.05, 0.95)  # alpha below and above which it is sure
OPAQUE = (0.1, 0.85)  # alpha below and above which it becomes 0 and 1: what is left of doubt would look like mist
SECOND_SIZE = 0.6875  # of the network's size, at which it sees the picture, too
DOUBT_SIDE, WIDE_DOUBT = 25, 0.2  # pixels; mean doubt (1 for an alpha of a half) over so many: colours begin to decide
COLOUR_SHARE = 0.8  # of the decision, at most
LEAST_SURE = 50  # pixels of each, or colours cannot be learned


def find_matte(network: MatteNetwork, picture: np.ndarray) -> np.ndarray:
    """Return the alpha of a picture, uint8 [H,W,3]: the mean of what the network sees at two sizes; where it is in
    doubt, colours decide with it."""
    small, coarse = _see(network, picture, network.config.size)
    _, coarser = _see(network, picture, round(SECOND_SIZE * network.config.size))
    coarse = (coarse + cv2.resize(coarser, coarse.shape[::-1])) / 2
    return refine(picture, small, tidy(by_colours(small, coarse), coarse))


@torch.inference_mode()
def _see(network: MatteNetwork, picture: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture reduced, or enlarged, to a longer side of about `size` pixels, uint8 [h,w,3], and its alpha [h,w]."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    sides = [max(STRIDE, STRIDE * round(scale * side / STRIDE)) for side in (width, height)]
    small = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    device = next(network.parameters()).device
    use_bfloat16 = draws_in_bfloat16(device, network.config.channels[0])
    with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
        used = in_bfloat16(network) if use_bfloat16 and device.type == "cpu" else network
        logits = used(to_tensor(small, device)).float()
    return small, torch.sigmoid(logits)[0, 0].cpu().numpy()


def by_colours(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Let the colours of what is surely in front and behind decide where alpha [h,w] is in doubt over a wide area:
    GrabCut (Rother et al. 2004). Thin edges, as of hair, stay. picture: uint8 [h,w,3]."""
    wide = cv2.blur(1 - np.abs(2 * alpha - 1), (DOUBT_SIDE, DOUBT_SIDE))
    share = np.clip(wide / WIDE_DOUBT - 1, 0, 1) * COLOUR_SHARE
    labels = np.where(alpha >= 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[alpha > CERTAIN[1]], labels[alpha < CERTAIN[0]] = cv2.GC_FGD, cv2.GC_BGD
    if not share.any() or min((labels == sure).sum() for sure in (cv2.GC_FGD, cv2.GC_BGD)) < LEAST_SURE:
        return alpha
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # the same picture, the same matte
    cv2.grabCut(np.ascontiguousarray(picture[..., ::-1]), labels, (0, 0, 1, 1), *models, 2, cv2.GC_INIT_WITH_MASK)
    front = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    return alpha + share * (cv2.GaussianBlur(front, (0, 0), 1) - alpha)


def tidy(alpha: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Take islands away from alpha [h,w], and fill doubtful holes, also those that are open to the lower edge alone:
    there a portrait shows clothes, not background. seen: alpha before colours decided, which tells the doubt."""
    seen, alpha = alpha if seen is None else seen, alpha.copy()
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
        if is_enclosed and area < HOLE_SHARE * height * width and seen[hole].mean() > DOUBT:
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
    low, high = OPAQUE
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
