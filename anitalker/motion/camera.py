"""How the camera moves, seen from the background: shared by all that stands still, so it is no movement of the head.

Corners of the background are followed from frame to frame (Lucas and Kanade, "An iterative image registration
technique", 1981), and a similarity is fitted to most of them (RANSAC, Fischler and Bolles, 1981), both by OpenCV.
"""

from __future__ import annotations

import functools
import logging
from types import ModuleType

import numpy as np
from PIL import Image

log = logging.getLogger(__name__)

LONG_SIDE = 320  # pixels, in which the background is looked at
MAX_CORNERS = 150
MIN_CORNERS = 16  # fewer do not tell the camera from a thing that moves
MIN_AGREEMENT = 0.6  # share of the corners that must follow the similarity
MIN_SPREAD = (0.15, 0.05)  # standard deviation of their x and y, over the picture's width and height
RESIDUE = 1.0  # pixels of the small picture that a corner may be off
AT_REST = 0.15  # pixels of the small picture: a smaller movement is the noise of a camera at rest
HEAD = (0.7, 0.8)  # widths and heights of the face box that hair takes beside and above it
SHOULDERS = 1.5  # widths of the face box that the body takes beside the face, below its middle
STILL = np.eye(2, 3)


class CameraMotion:
    """Movement of the background from one frame to the next: `camera(frame, box)` -> float [2,3], a similarity.

    It takes places in the last frame's pixels to this one's. STILL where the background does not tell: at the first
    frame, after a cut, before a plain wall.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._mask: np.ndarray | None = None  # 255 where the last frame shows background

    def __call__(self, frame: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
        """The movement up to a frame, uint8 [H,W,3]; box: of its face, (x0,y0,x1,y1)."""
        shrink = LONG_SIDE / max(frame.shape[:2])
        size = [max(round(side * shrink), 1) for side in frame.shape[1::-1]]
        grey = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0).convert("L"))
        before, mask = self._before, self._mask
        self._before, self._mask = grey, background(grey.shape, np.array(box) * shrink)
        if before is None or mask is None or before.shape != grey.shape:
            return STILL
        similarity = _follow(before, grey, mask & self._mask)
        similarity[:, 2] /= shrink
        return similarity


def background(shape: tuple[int, ...], box: np.ndarray) -> np.ndarray:
    """Mask uint8 [H,W]: 0 over head and body of the person whose face is in `box` [4], 255 elsewhere."""
    x0, y0, x1, y1 = box
    width, height, mask = x1 - x0, y1 - y0, np.full(shape, 255, np.uint8)
    _clear(mask, x0 - HEAD[0] * width, y0 - HEAD[1] * height, x1 + HEAD[0] * width, shape[0])
    _clear(mask, x0 - SHOULDERS * width, (y0 + y1) / 2, x1 + SHOULDERS * width, shape[0])
    return mask


def _clear(mask: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> None:
    mask[max(int(y0), 0) : max(int(y1), 0), max(int(x0), 0) : max(int(x1), 0)] = 0


@functools.cache
def _opencv() -> ModuleType | None:
    """OpenCV; None, told once, where it cannot be loaded: its wheel needs libGL, which small servers lack."""
    try:
        import cv2
    except ImportError as error:
        log.warning("OpenCV cannot be loaded (%s): movement of the camera counts as movement of the head", error)
        return None
    return cv2


def _follow(before: np.ndarray, now: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The similarity [2,3] of the background between two grey pictures; STILL if it does not tell."""
    cv2 = _opencv()
    if cv2 is None:
        return STILL.copy()
    corners = cv2.goodFeaturesToTrack(before, MAX_CORNERS, 0.02, 6, mask=mask)
    if corners is None or len(corners) < MIN_CORNERS:
        return STILL.copy()
    places, found, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, corners.copy(), winSize=(15, 15), maxLevel=3)
    seen = found.ravel() > 0
    start, end = corners[seen, 0], places[seen, 0]
    if len(start) < MIN_CORNERS:
        return STILL.copy()
    similarity, agree = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=RESIDUE)
    if similarity is None or agree.sum() < max(MIN_CORNERS, MIN_AGREEMENT * len(corners)):
        return STILL.copy()
    spread = start[agree.ravel() > 0].std(0) / before.shape[::-1]
    moved = np.linalg.norm(similarity @ np.c_[start, np.ones(len(start))].T - start.T, axis=0).mean()
    return STILL.copy() if (spread < MIN_SPREAD).any() or moved < AT_REST else similarity
