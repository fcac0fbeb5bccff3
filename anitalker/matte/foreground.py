"""Colours of the foreground where it is mixed with the old background, so that none of it stays around hair.

Pictures are uint8 [H,W,3], alpha float32 [H,W] in 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np

WIDE_SHARE, NARROW_SHARE = 0.12, 0.012  # sides of both blurs, of the picture's shorter side
SURENESS, DOUBT = 6, 1e-3  # exponent of a layer's share by which a pixel counts for its colour; how much others count
NEARBY = 50.0  # times the mean share of a layer, from which on its colour there is known; else it is the mean one
SURE = 0.98  # alpha from which on a pixel's colour is taken as it is


def estimate_foreground(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the foreground's colours, uint8 [H,W,3]: the picture's own where alpha is 1, continued around it.

    Blur fusion in two steps, a wide and a narrow one (Forte 2021, "Approximate fast foreground colour estimation");
    other than there, pixels count the more the surer they are of one layer.
    """
    image = picture.astype(np.float32)
    short, share = min(alpha.shape), alpha[..., None]
    front, behind = image, image
    for part in (WIDE_SHARE, NARROW_SHARE):
        side = (2 * round(part * short / 2) + 1,) * 2
        near = _colours(front, alpha, side)
        behind = _colours(behind, 1 - alpha, side)
        front = np.clip(near + share * (image - share * near - (1 - share) * behind), 0, 255)
    kept = np.clip((share - 0.5) / (SURE - 0.5), 0, 1) ** 4  # interiors keep every bit
    return np.rint(front + kept * (image - front)).astype(np.uint8)


def _colours(image: np.ndarray, share: np.ndarray, side: tuple[int, int]) -> np.ndarray:
    """A layer's colours [H,W,3] by its share [H,W]: means over nearby pixels of it."""
    weight = (share**SURENESS + DOUBT * share)[..., None]
    known = cv2.blur(weight, side)[..., None]
    mean = (image * weight).mean((0, 1)) / max(float(weight.mean()), 1e-6)
    return mean + np.minimum(1, NEARBY * known) * (cv2.blur(image * weight, side) / (known + 1e-6) - mean)
