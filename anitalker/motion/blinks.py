"""Blinks at random times, in the course that people's blinks have."""

from __future__ import annotations

import torch
from torch import Tensor

from anitalker.config import FPS, GeneratorConfig

BLINK_REST = 30  # frames (1.2 s) between the beginnings of two blinks, and before the first


class Blinks:
    """Blinks at random times, added to the motion.

    They are rare, quick and alike in everybody, so a measured course serves better than what a small network makes of
    some hundred examples. At least BLINK_REST apart, else without memory (exponential waiting).
    """

    def __init__(self, config: GeneratorConfig, rng: torch.Generator, device: torch.device | str) -> None:
        self.course = torch.tensor(config.blink, device=device).reshape(-1, config.motion_size)
        self.mean, self.rng = max(0.0, config.blink_every * FPS - BLINK_REST), rng
        self.next = self._wait()
        self.begun: list[int] = []

    def _wait(self) -> int:
        return BLINK_REST + int(self.mean * float(torch.empty(1).exponential_(generator=self.rng)))

    def __call__(self, first: int, frames: int) -> Tensor:
        """What to add to frames first, first + 1, ...: [1,frames,M]. Ask in order."""
        added, length = self.course.new_zeros(1, frames, self.course.shape[1]), len(self.course)
        while length and self.next < first + frames:
            self.begun.append(self.next)
            self.next += self._wait()
        self.begun = [begin for begin in self.begun if begin + length > first]
        for begin in self.begun:
            low, high = max(begin, first), min(begin + length, first + frames)
            added[0, low - first : high - first] += self.course[low - begin : high - begin]
        return added
