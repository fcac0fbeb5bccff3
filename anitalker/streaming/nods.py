"""Small nods of a face that listens while another talks."""

from __future__ import annotations

import math

import numpy as np

from anitalker.config import FPS

NOD_FRAMES = 16  # 0.64 s, down and up again
NOD_RADIANS = (0.025, 0.06)  # 1.4 to 3.4 degrees
MIN_HEARD_FRAMES = FPS  # of the other's speech before a nod
PAUSE_FRAMES = 5  # 0.2 s of silence: people nod at the ends of phrases
LONGEST_WAIT_FRAMES = 5 * FPS  # the longest time without a nod while the other talks on


class Nods:
    """Nods at pauses of what is heard, and now and then in a long phrase (Gratch et al. 2006, "Virtual Rapport")."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._heard = self._silent = 0  # frames since the last nod in which there was speech; frames of silence now
        self._age, self._depth = NOD_FRAMES, 0.0  # of the present nod

    def __call__(self, is_heard: bool) -> float:
        """The change of the head's pitch in this frame, radians downwards; is_heard: whether the other talks."""
        self._heard += is_heard
        self._silent = 0 if is_heard else self._silent + 1
        nodding = self._age < NOD_FRAMES
        pause = self._silent == PAUSE_FRAMES and self._heard >= MIN_HEARD_FRAMES
        if not nodding and (pause or self._heard >= LONGEST_WAIT_FRAMES):
            self._age, self._depth, self._heard = 0, float(self._rng.uniform(*NOD_RADIANS)), 0
        elif self._silent > 2 * FPS:
            self._heard = 0  # the other has stopped long ago
        self._age = min(self._age + 1, NOD_FRAMES)
        return self._depth * math.sin(math.pi * self._age / NOD_FRAMES) ** 2
