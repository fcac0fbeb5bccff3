"""A face in a picture: its box, its landmarks, and how it looks at the camera.

Landmarks are float32 [468,3] in the picture's pixels, the centre of the first pixel at 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from anitalker.faces.landmarks import FOREHEAD


@dataclass(frozen=True)
class Face:
    """One face of a picture: box (x0,y0,x1,y1) and landmarks [468,3] in pixels, score 0..1."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray

    @property
    def size(self) -> float:
        """The longer side of the box in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def yaw(self) -> float:
        """Yaw in degrees; positive turns the nose to the picture's left."""
        return self._angles()[0]

    @property
    def pitch(self) -> float:
        """Pitch in degrees; positive looks down."""
        return self._angles()[1]

    @property
    def roll(self) -> float:
        """Roll in degrees; positive turns clockwise in the picture."""
        return self._angles()[2]

    @property
    def quality(self) -> dict[str, float]:
        """What the result depends on: the size in pixels, and the angle in degrees by which the face looks away."""
        return {"size": self.size, "away": math.hypot(self.yaw, self.pitch)}

    def scaled(self, x: float, y: float) -> Face:
        """The same face in a copy of its picture that is `x` times as wide and `y` times as high."""
        x0, y0, x1, y1 = self.box
        factors = np.array([x, y, (x + y) / 2], np.float32)  # depth is in pixels, too
        return Face((x0 * x, y0 * y, x1 * x, y1 * y), self.score, self.landmarks * factors)

    def _angles(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll in degrees, as in `landmarks.rotation`, from the eye corners, temples and forehead."""
        points = self.landmarks.astype(np.float64)
        across = (points[[263, 356, 454]] - points[[33, 127, 234]]).sum(0)
        across /= np.linalg.norm(across)
        down = points[[168, 6, 197]].mean(0) - points[FOREHEAD]
        down -= across * (down @ across)
        down /= np.linalg.norm(down)
        forward = np.cross(across, down)
        yaw, roll = math.asin(np.clip(-across[2], -1, 1)), math.atan2(across[1], across[0])
        pitch = math.atan2(down[2], forward[2])
        return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def box_of(landmarks: np.ndarray) -> tuple[float, float, float, float]:
    """The box (x0,y0,x1,y1) around landmarks [N,>=2]."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (x0,y0,x1,y1)."""
    intersection = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / union if union > 0 else 0.0
