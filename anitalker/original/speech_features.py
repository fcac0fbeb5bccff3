"""Speech -> the features that the original's motion generator was trained on, in one interface for all of its variants.

Letters: N samples at 16 kHz, T = ceil(25 seconds) video frames, r features per video frame (2 of HuBERT, 4 of MFCC).

The original renders floor(features / r) frames, so its videos end up to 60 ms before their sound. Here the last feature
is repeated until T frames are full; all earlier features are those of the original.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from anitalker.config import InputError
from anitalker.original.denoiser import Denoiser
from encoders import hubert, mfcc
from encoders.audio import frame_count


@dataclass(frozen=True)
class SpeechFrontend:
    """The speech features of a variant. features: samples [N] -> [K,S]; rate: features per video frame, r."""

    features: Callable[[Tensor], Tensor]
    rate: int

    def __call__(self, samples: Tensor) -> Tensor:
        """Samples [N] in -1..1 at 16 kHz, as recorded (not levelled) -> [1,rT,S], float32, for `Denoiser.condition`."""
        features, count = self.features(samples), self.rate * frame_count(len(samples))
        return torch.cat([features[:count], features[-1:].expand(max(0, count - len(features)), -1)])[None]


def load_speech_frontend(
    denoiser: Denoiser, source: str | os.PathLike = hubert.NAME, device: torch.device | str = "cpu"
) -> SpeechFrontend:
    """The speech front end of a loaded motion generator.

    source: for the HuBERT variants, a local folder or the hub name of a model in the cache (nothing is downloaded); the
    MFCC variants ignore it. InputError where the package or the weights are missing, or do not fit.
    """
    config = denoiser.config
    if config.hears == "mfcc":
        return SpeechFrontend(mfcc.features, config.sound_rate)
    try:
        model = hubert.load(source, denoiser.layer_weights())
    except (ModuleNotFoundError, FileNotFoundError, ValueError) as error:
        raise InputError(f"{error}; the mfcc variants need no HuBERT") from error
    if model.network.config.hidden_size != config.hubert:
        raise InputError(
            f"HuBERT in {str(source)!r} is {model.network.config.hidden_size} wide, the motion generator needs "
            f"{config.hubert}; use {hubert.NAME}"
        )
    model.network.to(device)
    return SpeechFrontend(model.features, config.sound_rate)
