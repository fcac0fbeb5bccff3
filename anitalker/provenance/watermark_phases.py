"""What the watermark's search looks at: the detail of a picture, and its spatial frequencies without their strength.

Letters: H x W pixels of a frame, h x w of the reduced one, n frequencies of a key.
"""

from __future__ import annotations

import cv2
import numpy as np

from anitalker.provenance.watermark_key import Key, spectrum

UNSCALED_SIDE = 512  # pixels: up to this short side a cell is one pixel; larger pictures have larger cells
NEIGHBOURS = 31  # frequencies of about the same radius, whose rms is one


def luma(frame: np.ndarray) -> np.ndarray:
    """Compute the brightness, float32 [H,W], of a frame, uint8 [H,W,3]."""
    return frame @ np.array([0.299, 0.587, 0.114], np.float32)


def box_mean(picture: np.ndarray, window: int) -> np.ndarray:
    """Compute the mean of a float32 [H,W] over window x window pixels (odd), mirrored at the borders."""
    return cv2.blur(picture, (window, window), borderType=cv2.BORDER_REFLECT)


def reduce_frame(frame: np.ndarray) -> np.ndarray:
    """Reduce a frame to its brightness [h,w] with a short side of at most UNSCALED_SIDE."""
    from PIL import Image

    picture = luma(frame)
    short = min(picture.shape)
    if short <= UNSCALED_SIDE:
        return picture
    size = [round(side * UNSCALED_SIDE / short) for side in picture.shape[::-1]]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def residual(picture: np.ndarray) -> np.ndarray:
    """Subtract the local mean from a picture [h,w] and divide by the local variance, so that edges count little."""
    detail = picture - box_mean(picture, 9)
    return detail / (box_mean(detail * detail, 9) + 4)  # 4: variance of the noise of codecs, in grey levels squared


def limited(observed: np.ndarray, key: Key) -> np.ndarray:
    """Divide observations [s,n] by the rms of their neighbours in radius; larger ones become 1.

    The picture is stronger at low frequencies, and a few of its frequencies are much stronger than others.
    """
    rows, columns, _ = spectrum(key)
    order = np.argsort(np.hypot(rows, columns), kind="stable")
    powers = np.pad(np.abs(observed[:, order]) ** 2, ((0, 0), (NEIGHBOURS // 2 + 1, NEIGHBOURS // 2)), "edge")
    sums = powers.cumsum(1, dtype=np.float64)
    rms = np.empty(observed.shape)
    rms[:, order] = np.sqrt((sums[:, NEIGHBOURS:] - sums[:, :-NEIGHBOURS]) / NEIGHBOURS)
    return observed / np.maximum(np.maximum(np.abs(observed), rms), 1e-20)


def deviation(observed: np.ndarray) -> np.ndarray:
    """Compute the standard deviation [...] of the correlation of observations [...,n] with phases that are random."""
    return np.sqrt(np.sum(np.abs(observed) ** 2, -1) / 2 + 1e-9)
