"""What the protocols ask of a model, and what they feed it; the tests put fakes in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class EvalClip:
    """A clip with labels: manifest row, frames uint8 [T,256,256,3], landmarks [T,468,3], speech [N] at 16 kHz."""

    row: dict
    frames: np.ndarray
    landmarks: np.ndarray
    speech: np.ndarray


@dataclass(frozen=True)
class Source:
    """A portrait in the crop: image uint8 [256,256,3], landmarks [468,3] as the model finds them, motion code [20]."""

    image: np.ndarray
    landmarks: np.ndarray
    motion: np.ndarray


class Subject(Protocol):
    """A model under evaluation. Pictures are 256x256 crops as they stand in the data: nothing is cropped again."""

    name: str
    lost: int  # frames so far in which `landmarks` found no face

    def landmarks(self, frames: np.ndarray) -> np.ndarray:
        """The shipped face network on uint8 [T,256,256,3] -> [T,468,3] in crop units; each frame by itself."""

    def codes(self, frames: np.ndarray) -> np.ndarray:
        """Motion codes [T,20] read from the pixels of consecutive frames, filtered as for a driving video."""

    def looks(self, frames: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Each frame by itself -> motion [T,20], identity [T,64], appearance [T,D] (the HAL code).

        weights [stages]: HAL's, in place of its own.
        """

    def hal_weights(self) -> np.ndarray:
        """HAL's weights [stages], which add up to one."""

    def render(self, source: Source, motion: np.ndarray, appearance: np.ndarray | None = None) -> np.ndarray:
        """`source` under the motion codes [T,20] -> uint8 [T,256,256,3]; appearance [D]: in place of its HAL code."""

    def render_landmarks(self, source: Source, landmarks: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """`source` with its points brought to landmarks [T,468,3], under codes [T,20] -> uint8 [T,256,256,3]."""

    def posed(self, landmarks: np.ndarray, start: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """Points [468,3] whose motion code is `start` [20], under motion [T,20] -> [T,468,3]; no picture is made."""

    def poses(self, landmarks: np.ndarray) -> np.ndarray:
        """Label pose of points [T,468,3] in the code's own terms -> [T,6]."""

    def speak(self, source: Source, speech: np.ndarray, seed: int) -> np.ndarray:
        """Motion [ceil(25 N / 16000),20] for speech [N]; one single sample."""

    def seams(self, frames: int) -> list[int]:
        """First frame of each window but the first in a motion of so many frames; empty where there are no windows."""
