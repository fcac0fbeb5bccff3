"""Motion transformer: speech, the portrait's motion code and the previous frames -> clean motion, from noisy motion.

Letters: B clips, n frames to generate, p frames already generated, L = p + n frames of speech, S speech features, M
motion numbers (POSE_SIZE of pose, the rest expression), W width of the network, C = 5 controls (yaw, pitch, roll,
scale, location).

What is unusual:
* Inside the network, pose is relative to the portrait's pose, so that an off-centre or turned portrait keeps its
  place. Expression is absolute: 0 is the neutral face. `normalise` and `denormalise` convert.
* The network sees exactly the speech that is known, p frames behind and n ahead, and was trained with windows of many
  lengths. Cutting the window limits the look-ahead, whatever the number of layers. (With an attention mask per layer
  the look-ahead would grow with every layer.) So the same weights can stream.
* The network estimates the clean motion, not the velocity (see samplers.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import POSE_SIZE
from anitalker.motion.lip_regressor import LipRegressor
from anitalker.motion.transformer import Block, SpeechEncoder, rotary_table
from anitalker.network_config import GeneratorConfig

CONTROLS = ("yaw", "pitch", "roll", "scale", "location")
CONTROL_INDICES = (0, 1, 2, 5, 3)  # of CONTROLS, in the motion code


class Generator(Protocol):
    """What sampling needs of a motion generator: MotionGenerator, or an equivalent that is faster for one portrait."""

    config: GeneratorConfig
    mean: Tensor
    std: Tensor
    spoken: Tensor

    @property
    def lips(self) -> Callable[[Tensor], Tensor] | None:
        """The lip regressor, speech [B,L,S] -> normalised motion [B,L,M]; None where there is none."""
        ...

    def normalise(self, motion: Tensor, start: Tensor) -> Tensor:
        """As `MotionGenerator.normalise`."""
        ...

    def denormalise(self, x: Tensor, start: Tensor) -> Tensor:
        """As `MotionGenerator.denormalise`."""
        ...

    def encode_speech(self, speech: Tensor) -> Tensor:
        """As `MotionGenerator.encode_speech`."""
        ...

    def __call__(
        self,
        noisy: Tensor,
        time: Tensor,
        encoded_speech: Tensor,
        start: Tensor,
        previous: Tensor,
        controls: Tensor,
        control_mask: Tensor,
        drop_speech: Tensor | None = None,
    ) -> Tensor:
        """As `MotionGenerator.forward`."""
        ...


class MotionGenerator(nn.Module):
    """The network. GeneratorConfig holds its sizes and the mean and deviation that normalise its motion."""

    mean: Tensor
    std: Tensor
    spoken: Tensor

    def __init__(self, config: GeneratorConfig = GeneratorConfig()) -> None:
        super().__init__()
        self.config = config
        width, size = config.width, config.motion_size
        self.speech = SpeechEncoder(config.speech_size, width, config.speech_layers, config.dropout)
        self.no_speech = nn.Parameter(torch.zeros(width))
        self.into = nn.Linear(size + 1 + 2 * len(CONTROLS), width)
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.start = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.layers))
        self.set = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, size)
        for layer in (self.set, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        mean, std = config.motion_mean or (0.0,) * size, config.motion_std or (1.0,) * size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)
        self.lips = LipRegressor(config.speech_size, size, config.lips_width) if config.lips_width else None
        # Projection [M,M] onto what speech decides (lips, jaw, cheeks) in normalised motion; measured in training.
        self.register_buffer("spoken", torch.zeros(size, size))

    def normalise(self, motion: Tensor, start: Tensor) -> Tensor:
        """Motion codes [B,L,M] of a portrait with code `start` [B,M] -> the network's normalised motion [B,L,M]."""
        return (motion - _pose_of(start) - self.mean) / self.std

    def denormalise(self, x: Tensor, start: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x * self.std + self.mean + _pose_of(start)

    def encode_speech(self, speech: Tensor) -> Tensor:
        """Speech features [B,L,S] -> [B,L,W]; called once per window, whatever the number of sampler steps."""
        return self.speech(speech)

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        encoded_speech: Tensor,
        start: Tensor,
        previous: Tensor,
        controls: Tensor,
        control_mask: Tensor,
        drop_speech: Tensor | None = None,
    ) -> Tensor:
        """Estimate the clean motion [B,n,M]. All motion here is normalised.

        noisy [B,n,M]; time [B] in 0 (noise) .. 1; encoded_speech [B,L,W] from `encode_speech`; start [B,M]: the
        portrait's motion code, not normalised; previous [B,p,M]; controls [B,L,C] in units of the normalised motion,
        obeyed where control_mask [B,L,C] is 1; drop_speech [B] bool: ignore the speech.
        """
        x = self.embed(noisy, encoded_speech, previous, controls, control_mask, drop_speech)
        condition = F.silu(self.time(time_embedding(time)) + self.start((start - self.mean) / self.std))
        rotary = rotary_table(x.shape[1], self.config.width // self.config.heads, x.device)
        for block in self.blocks:
            x = block(x, condition, rotary)
        shift, scale = self.set(condition)[:, None].chunk(2, -1)
        x = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        return self.out(x[:, previous.shape[1] :])

    def embed(
        self,
        noisy: Tensor,
        encoded_speech: Tensor,
        previous: Tensor,
        controls: Tensor,
        control_mask: Tensor,
        drop_speech: Tensor | None,
    ) -> Tensor:
        """The input of the first block [B,L,W]; arguments as in `forward`."""
        if drop_speech is not None:
            encoded_speech = torch.where(drop_speech[:, None, None], self.no_speech, encoded_speech)
        is_previous = torch.cat([torch.ones_like(previous[..., :1]), torch.zeros_like(noisy[..., :1])], 1)
        motion = torch.cat([previous, noisy], 1)
        inputs = torch.cat([motion, is_previous, controls * control_mask, control_mask], -1)
        return self.into(inputs) + encoded_speech


def _pose_of(start: Tensor) -> Tensor:
    pose = start[:, None].clone()
    pose[..., POSE_SIZE:] = 0
    return pose


def time_embedding(time: Tensor) -> Tensor:
    """Sampler time [B] in 0..1 -> sines and cosines [B,64]."""
    angles = time[:, None] * torch.exp(torch.linspace(0, math.log(200), 32, device=time.device))
    return torch.cat([angles.sin(), angles.cos()], -1)
