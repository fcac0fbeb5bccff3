"""How lips follow from the networks' estimates, for whole recordings and streams alike.

Lips follow the mean of all motions that fit the speech: the lip regressor says it, or the transformer where a model has
no regressor.

Letters: n frames, M motion numbers. All motion is normalised. `spoken` [M,M] projects onto what speech decides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anitalker.runtime.smoothstep import smoothstep

LIP_GAIN = 1.54  # factor on lip motion: the mean is flatter than real motion, and the decoder flattens it further
EASE_IN_FRAMES = 7  # 0.28 s, in which motion leaves the portrait's own code


def amplify(motion: Tensor, neutral: Tensor, spoken: Tensor, factor: float = 1.0) -> Tensor:
    """Motion [1,n,M] with lips LIP_GAIN times as far from `neutral` [M], the neutral face, normalised.

    factor: on the gain, of a person's own manner.
    """
    return motion + (LIP_GAIN * factor - 1) * (motion - neutral) @ spoken


def ease_in(frames: Tensor | int) -> Tensor:
    """Weight of generated motion against the portrait's own code by frame number: 0 at frame 0, smoothly to 1."""
    return smoothstep(torch.as_tensor(frames) / EASE_IN_FRAMES)
