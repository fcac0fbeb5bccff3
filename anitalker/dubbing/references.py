"""Which frames of a video show the mouth synthesiser what a mouth looks like: openings of all sizes, sharp, frontal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from anitalker.config import CROP
from anitalker.faces.landmarks import LIPS, lip_opening

OPENINGS = (0.012, 0.035, 0.06, 0.1)  # face heights: lip openings between which one reference each is kept
TURN = 0.35  # radians of head turn that count as much as half of the sharpness
MARGIN = 12  # pixels about the lips where the sharpness is measured


@dataclass(frozen=True)
class Reference:
    """A frame that shows the mouth: crop uint8 [256,256,3], landmarks [N,3] in crop widths, motion code [M]."""

    crop: np.ndarray
    landmarks: np.ndarray
    motion: np.ndarray
    quality: float


class ReferenceBank:
    """The best frame of each class of lip opening; its size does not grow with the video."""

    def __init__(self) -> None:
        self._best: dict[int, Reference] = {}

    def add(self, crop: np.ndarray, landmarks: np.ndarray, motion: np.ndarray) -> None:
        """Offer one frame; arguments as in Reference."""
        kind = int(np.searchsorted(OPENINGS, float(lip_opening(landmarks))))
        quality = sharpness(crop, landmarks) / (1 + float(np.square(motion[:2]).sum()) / TURN**2)
        if kind not in self._best or quality > self._best[kind].quality:
            self._best[kind] = Reference(crop.copy(), landmarks.copy(), motion.copy(), quality)

    def references(self, others: Iterable[ReferenceBank] = ()) -> list[Reference]:
        """The references, the least open mouth first; empty where no frame was offered.

        others: banks of other shots of the same person, for openings that this one lacks: their light may be another,
        but teeth that are somebody's own are better than invented ones.
        """
        best = dict(self._best)
        for bank in others:
            for kind, reference in bank._best.items():
                if kind not in self._best and (kind not in best or reference.quality > best[kind].quality):
                    best[kind] = reference
        return [best[kind] for kind in sorted(best)]


def sharpness(crop: np.ndarray, landmarks: np.ndarray) -> float:
    """Standard deviation of the Laplacian of the grey values about the lips; motion blur lowers it."""
    points = landmarks[list(LIPS), :2] * CROP
    (left, top), (right, bottom) = points.min(0) - MARGIN, points.max(0) + MARGIN
    rows, columns = (slice(int(max(low, 0)), int(min(high, CROP))) for low, high in ((top, bottom), (left, right)))
    window = crop[rows, columns]
    if not window.size:
        return 0.0
    return float(cv2.Laplacian(window.mean(-1).astype(np.float32), cv2.CV_32F).std())
