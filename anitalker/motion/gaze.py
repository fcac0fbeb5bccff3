"""The course of a gaze: where a portrait looks while it speaks, frame by frame.

Letters: k frames, S speech features. Directions are radians towards the right edge and the top of the picture, as the
camera sees them. GAZE_SIZE numbers follow a motion code: both angles, and the share of the way from where the portrait
looks by itself. Codes without them leave the eyes as the portrait has them.

Speakers look at whom they talk to, and away for a moment at pauses, while they plan what comes (Kendon 1967, "Some
functions of gaze-direction in social interaction"; Lee et al. 2002, "Eyes alive", on sizes and times of saccades). The
head's motion is not in here: eyes keep a direction while the head turns, as `decoder.eyeballs` draws them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, GAZE_LIMITS, RenderOptions
from anitalker.motion.lip_policy import ease_in
from anitalker.motion.timeline import read_timeline

QUIET = -1.2  # mean of the normalised log-mel bands of a frame, below which nobody speaks
PAUSE_FRAMES = 6  # 0.24 s of silence: a pause, at which eyes may turn away
SPOKEN_FRAMES = 1.5 * FPS  # of speech between two glances
BACK_FRAMES = 3  # of speech after which a glance ends
GLANCE_SHARE = 0.6  # of pauses
GLANCE_FRAMES = (10, 26)  # how long it lasts, at most
GLANCE_DEGREES = ((3.5, 8.0), (-3.5, 3.0))  # to either side, and up
IDLE_FRAMES = (4 * FPS, 9 * FPS)  # of silence from one glance to the next
FIXATION_FRAMES = (18, 70)  # between small saccades while the eyes rest on the camera
SMALL_DEGREES = (0.9, 0.6)  # standard deviations of them
SACCADE_FRAMES = 2  # 80 ms from one direction to the next


def resting_gaze(options: RenderOptions) -> Tensor:
    """Where eyes rest under the options: [1,GAZE_SIZE]; [1,0] where they keep the portrait's own gaze."""
    if options.gaze == "portrait":
        return torch.zeros(1, 0)
    return torch.tensor([[*(math.radians(angle) for angle in options.gaze_direction), 1.0]])


def with_timeline(gaze: Tensor, options: RenderOptions, frames: int) -> Tensor:
    """The gaze [T,GAZE_SIZE] of T frames, or [T,0] -> that of the options' timeline where it has one."""
    table = {} if options.timeline is None else read_timeline(options.timeline, frames)
    if not GAZE_LIMITS.keys() & table.keys():
        return gaze
    none = torch.zeros(frames)
    angles = [torch.deg2rad(table.get(name, none)) for name in GAZE_LIMITS]
    return torch.stack([*angles, ease_in(torch.arange(frames)).float()], 1).to(gaze)


def idle_gaze(options: RenderOptions, frames: int, seed: int, loop: bool) -> Tensor:
    """The gaze of T frames without speech: [T,GAZE_SIZE], or [T,0]. loop: without saccades, so that the end fits."""
    if loop or options.gaze == "portrait":
        return resting_gaze(options).expand(frames, -1)
    return GazeCourse(options, 1, seed)(torch.full((1, frames, 1), 2 * QUIET), 0)[0]


class GazeCourse:
    """The gaze of frames that arrive in pieces, in their order.

    options: whose `gaze` counts; mels: how many of the features, the first ones, are log-mel bands; seed: of saccades.
    """

    def __init__(self, options: RenderOptions, mels: int, seed: int) -> None:
        self.mels, self.moves = mels, options.gaze == "natural"
        self.rest = np.radians(np.array(options.gaze_direction))
        self._rng = np.random.default_rng(seed)
        self._at, self._goal, self._steps = self.rest.copy(), self.rest.copy(), 0
        self._silent = self._spoken = self._loud = 0  # frames: of silence now, of speech since a glance, of speech now
        self._glances, self._left = False, self._draw(FIXATION_FRAMES)
        self._idle = self._draw(IDLE_FRAMES)

    def __call__(self, speech: Tensor, frame: int) -> Tensor:
        """Speech features [1,k,S] of frames from number `frame` on -> their gaze [1,k,GAZE_SIZE]."""
        levels = speech[0, :, : self.mels].mean(1).tolist()
        rows = [self._next(level) if self.moves else self._at for level in levels]
        shares = ease_in(torch.arange(frame, frame + len(levels))).reshape(-1, 1)
        angles = torch.from_numpy(np.array(rows, np.float32).reshape(-1, 2))
        return torch.cat([angles, shares.to(angles)], 1)[None].to(speech)

    def _next(self, level: float) -> np.ndarray:
        """The direction [2] in the next frame, whose speech has this level."""
        is_silent = level < QUIET
        self._silent, self._loud = (self._silent + 1, 0) if is_silent else (0, self._loud + 1)
        self._spoken += not is_silent
        self._left -= 1
        pauses = self._silent == PAUSE_FRAMES and self._spoken >= SPOKEN_FRAMES and self._rng.random() < GLANCE_SHARE
        idles = self._silent >= self._idle
        if not self._glances and (pauses or idles):
            self._glances, self._spoken = True, 0
            self._turn(self._aside(), GLANCE_FRAMES)
            self._idle = self._silent + self._draw(IDLE_FRAMES)
        elif self._left <= 0 or (self._glances and self._loud >= BACK_FRAMES):
            self._glances = False
            self._turn(np.radians(SMALL_DEGREES) * self._rng.standard_normal(2).clip(-2, 2), FIXATION_FRAMES)
        if self._loud:
            self._idle = min(self._idle, IDLE_FRAMES[1])
        if self._steps:
            self._at = self._at + (self._goal - self._at) / self._steps
            self._steps -= 1
        return self._at

    def _turn(self, change: np.ndarray, frames: tuple[float, float]) -> None:
        self._goal, self._steps, self._left = self.rest + change, SACCADE_FRAMES, self._draw(frames)

    def _aside(self) -> np.ndarray:
        across, up = (self._rng.uniform(*span) for span in GLANCE_DEGREES)
        return np.radians([math.copysign(across, self._rng.random() - 0.5), up])

    def _draw(self, frames: tuple[float, float]) -> int:
        return int(self._rng.integers(int(frames[0]), int(frames[1]) + 1))
