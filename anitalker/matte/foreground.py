"""Colours of the foreground where it is mixed with the old background, so that none of it stays around hair.

Pictures are uint8 [H,W,3], alpha float32 [H,W] in 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np

WIDE_SHARE, NARROW_SHARE = 0.12, 0.01  # sides of both blurs, of the picture's shorter side
SURE = 0.98  # alpha from which on a pixel's colour is taken as it is


def estimate_foreground(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the foreground's colours, uint8 [H,W,3]: the picture's own where alpha is 1, continued around it.

    Blur fusion in two steps, a wide and a narrow one (Forte 2021, "Approximate fast foreground colour estimation").
    """
    image = picture.astype(np.float32)
    short = min(alpha.shape)
    foreground, background = image, image
    for share in (WIDE_SHARE, NARROW_SHARE):
        side = 2 * round(share * short / 2) + 1
        foreground, background = _fuse(image, foreground, background, alpha, (side, side))
    sure = np.clip((alpha - 0.5) / (SURE - 0.5), 0, 1)[..., None]  # interiors keep every bit
    return np.rint(foreground + sure**4 * (image - foreground)).clip(0, 255).astype(np.uint8)


def _fuse(
    image: np.ndarray, foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray, side: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """One step: blurred estimates of both layers, and the foreground that explains the image with them."""
    weight = alpha[..., None]
    share = cv2.blur(alpha, side)[..., None]
    front = cv2.blur(foreground * weight, side) / (share + 1e-5)
    back = cv2.blur(background * (1 - weight), side) / (1 - share + 1e-5)
    front = front + weight * (image - weight * front - (1 - weight) * back)
    return front.clip(0, 255), back.clip(0, 255)
