"""Training of `LipRegressor` beside a finished motion transformer (`train_generator --only-lips`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anitalker.config import POSE_SIZE
from anitalker.motion.generator import MotionGenerator

if TYPE_CHECKING:
    import numpy as np

LIPS_WIDTH = 160  # of the regression
NOISE = 0.1  # added to the features, whose spread is about one


def lips_step(network: MotionGenerator, loss: torch.nn.Module, batch: dict[str, Tensor], p: int) -> dict[str, Tensor]:
    """Loss of the regression on one batch of windows, the p frames before included; only speakers who are seen
    count.
    """
    truth = network.normalise(batch["motion"], batch["start"]).clamp(-6, 6)
    speech = batch["speech"] + NOISE * torch.randn_like(batch["speech"])
    error = network.lips(speech).float() - truth
    error = torch.cat([torch.zeros_like(error[..., :POSE_SIZE]), error[..., POSE_SIZE:]], -1)
    good = batch["good"].float() * (~batch["deaf"]).float()[:, None]
    return {"lips": (loss.terms(error) * good).sum() / good.sum().clamp(min=1)}


def lips_window(rng: np.random.Generator) -> tuple[int, int]:
    """(p, n) of a training window; two frames before, so that nothing is changed to begin at a portrait."""
    return 2, int(rng.integers(30, 110))
