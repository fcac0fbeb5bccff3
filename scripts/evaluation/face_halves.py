"""The face above and below the base of the nose: errors in either, change along a border, trembling of the lower one.

Frames are uint8 [T,S,S,3], points [T,468,3] in crop units, T frames of S x S pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from torch import Tensor

from anitalker.faces.landmarks import CHIN, FOREHEAD, fit_pose, level_depth, to_canonical
from scripts.evaluation.metrics import hull_mask, psnr, squared_error

NOSE_BASE = 2  # landmark
MARGIN = 0.02  # face heights above the base of the nose that count for neither half: labels are no better
BAND = 0.01, 0.99  # shares of a region between which a pixel lies along its border
REST_RANGE = 0.02  # face heights that the opening of lips at rest varies by at most ...
REST_FRAMES = 9  # ... over so many frames
LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
SETTLED = 12  # frames after which lips have gone where silence wants them


def split_face(points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels inside the hull of points [468,3] that lie above and below the nose's base: bool [size,size] twice.

    The line between them is square to that from forehead to chin.
    """
    inside = hull_mask(points, size)
    down = points[CHIN, :2] - points[FOREHEAD, :2]
    centres = (np.arange(size) + 0.5) / size - points[NOSE_BASE, :2, None]  # [2,size]: x and y from the nose's base
    along = (centres[0] * down[0] + centres[1][:, None] * down[1]) / (down @ down)  # in face heights
    return inside & (along < -MARGIN), inside & (along > 0)


def half_psnr(output: np.ndarray, target: np.ndarray, masks: np.ndarray) -> float:
    """PSNR of frames inside masks bool [T,S,S]; every frame counts alike."""
    errors = [squared_error(a, b)[mask].mean() for a, b, mask in zip(output, target, masks, strict=True)]
    return psnr(float(np.mean(errors)))


def luma(frames: np.ndarray) -> np.ndarray:
    """Luma float32 [...,1] of frames uint8 [...,3], 0 to 255."""
    return frames @ np.array(LUMA, np.float32)[:, None]


def border_change(frames: np.ndarray, share: np.ndarray) -> float:
    """Mean absolute change from frame to frame, in levels of 255, where share [T,S,S] leads from 0 to 1 in both."""
    band = (share > BAND[0]) & (share < BAND[1])
    band = band[1:] & band[:-1]
    changes = [
        np.abs(after[inside].astype(int) - before[inside]).mean()
        for before, after, inside in zip(frames[:-1], frames[1:], band, strict=True)
        if inside.any()
    ]
    return float(np.mean(changes)) if changes else 0.0


def at_rest(opening: np.ndarray) -> np.ndarray:
    """Frames at which lips [T] are at rest, and have had the time to settle: bool [T]."""
    varies = maximum_filter1d(opening, REST_FRAMES) - minimum_filter1d(opening, REST_FRAMES)
    return (varies < REST_RANGE) & (np.arange(len(opening)) >= SETTLED)


def trembling(points: np.ndarray, canonical: Tensor) -> np.ndarray:
    """How much the points below the nose's base shake: mean length of their second difference over time, relative to
    the head's pose, in percent of the face height -> [T]; 0 at both ends.

    canonical [468,3]: the face that the pose is fitted with.
    """
    positions = torch.as_tensor(points, dtype=torch.float32)
    pose = fit_pose(positions, canonical.cpu())
    shape = to_canonical(level_depth(positions, pose, canonical.cpu()), pose)
    below = canonical[:, 1].cpu() > canonical[NOSE_BASE, 1].cpu()
    shape = shape[:, below, :2].numpy()
    second = np.linalg.norm(shape[2:] - 2 * shape[1:-1] + shape[:-2], axis=-1).mean(-1)
    return np.pad(100 * second, 1)
