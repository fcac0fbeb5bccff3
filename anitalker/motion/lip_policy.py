"""How lips are made of the networks' estimates, whole recordings and streams alike.

Letters: n frames, M motion numbers. All motion is normalised; `spoken` [M,M] projects onto what speech decides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anitalker.motion import samplers
from anitalker.runtime.smoothstep import smoothstep

LIP_REGRESSOR_WEIGHT = 0.5  # share of the regression from speech alone in the mean of the lips
LIP_GAIN = 1.6  # times what the lips do: the mean of what fits is flatter than life, and mouths are drawn shallower yet
EASE_IN_FRAMES = 9  # frames (0.36 s) in which motion leaves the portrait's own code


def guided_mean(mean: Tensor, regression: Tensor | None, unconditional: Tensor, guidance: float) -> Tensor:
    """The mean of all motions that fit the speech, [1,n,M]: the transformer's estimate joined with the regression's
    (None: there is none), then guided away from the estimate without speech."""
    if regression is not None:
        mean = mean + LIP_REGRESSOR_WEIGHT * (regression - mean)
    return samplers.guide(mean, unconditional, guidance)


def amplify(motion: Tensor, neutral: Tensor, spoken: Tensor) -> Tensor:
    """Motion [1,n,M] with its lips LIP_GAIN times as far from `neutral` [M], the normalised neutral face."""
    return motion + (LIP_GAIN - 1) * (motion - neutral) @ spoken


def ease_in(frames: Tensor | int) -> Tensor:
    """Weight of the made motion against the portrait's own code, by frame number: 0 at frame 0, then smoothly to 1."""
    return smoothstep(torch.as_tensor(frames) / EASE_IN_FRAMES)
