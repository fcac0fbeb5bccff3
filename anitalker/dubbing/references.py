"""Which frames of a video show the mouth synthesiser what a mouth looks like: openings of all sizes, sharp, frontal.

Letters: N = 468 landmarks, M = 20 motion numbers, P = PATCH pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from anitalker.decoder.mouth_patch import PATCH, cut_patch, place_patch
from anitalker.dubbing.spool import Spool
from anitalker.faces.landmarks import LIPS, lip_opening
from anitalker.runtime.transfer import to_pictures, to_tensor

OPENINGS = (0.012, 0.035, 0.06, 0.1)  # face heights: lip openings between which one reference each is kept
TURN = 0.35  # radians of head turn that count as much as half of the sharpness
MARGIN = 12  # pixels about the lips where the sharpness is measured
ROW = 3 * PATCH**2  # bytes of a patch


@dataclass(frozen=True)
class Reference:
    """A frame that shows the mouth: its patch uint8 [P,P,3], landmarks [N,3] in crop widths, motion code [M]."""

    patch: np.ndarray
    landmarks: np.ndarray
    motion: np.ndarray


@dataclass(frozen=True)
class _Kept:
    patches: Spool
    row: int  # of the patch in it
    landmarks: np.ndarray
    motion: np.ndarray
    quality: float

    def read(self) -> Reference:
        patch = self.patches[self.row : self.row + 1].reshape(PATCH, PATCH, 3)
        return Reference(patch, self.landmarks, self.motion)


class ReferenceBank:
    """The best frame of each class of lip opening. patches: a spool of ROW bytes a row, shared by banks."""

    def __init__(self, patches: Spool) -> None:
        self._patches = patches
        self._best: dict[int, _Kept] = {}

    def add(self, crop: np.ndarray, landmarks: np.ndarray, motion: np.ndarray) -> None:
        """Offer one frame: crop uint8 [256,256,3], landmarks [N,3] in crop widths, motion code [M]."""
        kind = opening_class(landmarks)
        quality = sharpness(crop, landmarks) / (1 + float(np.square(motion[:2]).sum()) / TURN**2)
        if kind in self._best and quality <= self._best[kind].quality:
            return
        placement = place_patch(torch.from_numpy(np.array(landmarks))[None])
        patch = to_pictures(cut_patch(to_tensor(crop), placement))[0]
        self._best[kind] = _Kept(
            self._patches, self._patches.append(patch.ravel()), landmarks.copy(), motion.copy(), quality
        )

    def take(self, other: ReferenceBank) -> None:
        """Keep what another bank has that is better."""
        for kind, kept in other._best.items():
            if kind not in self._best or kept.quality > self._best[kind].quality:
                self._best[kind] = kept

    def references(self, others: Iterable[ReferenceBank] = ()) -> list[Reference]:
        """The references, the least open mouth first; empty where no frame was offered.

        others: banks of other shots of the same person, for openings that this one lacks: their light may be another,
        but teeth that are somebody's own are better than invented ones.
        """
        best = dict(self._best)
        for bank in others:
            for kind, kept in bank._best.items():
                if kind not in self._best and (kind not in best or kept.quality > best[kind].quality):
                    best[kind] = kept
        return [best[kind].read() for kind in sorted(best)]


def opening_class(landmarks: np.ndarray) -> int:
    """The class of a lip opening, of landmarks [N,3]: 0 is shut, len(OPENINGS) wide open."""
    return int(np.searchsorted(OPENINGS, float(lip_opening(landmarks))))


def sharpness(crop: np.ndarray, landmarks: np.ndarray) -> float:
    """Standard deviation of the Laplacian of the grey values about the lips; motion blur lowers it."""
    points = landmarks[list(LIPS), :2] * len(crop)
    (left, top), (right, bottom) = points.min(0) - MARGIN, points.max(0) + MARGIN
    rows, columns = (slice(int(max(low, 0)), int(min(high, len(crop)))) for low, high in ((top, bottom), (left, right)))
    window = crop[rows, columns]
    if not window.size:
        return 0.0
    return float(cv2.Laplacian(window.mean(-1).astype(np.float32), cv2.CV_32F).std())
