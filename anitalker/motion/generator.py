"""Motion transformer: speech, the portrait's own motion and the frames already made -> the clean motion under noise.

Letters: B clips, n frames to make, p frames already made, L = p + n frames of speech, S speech features, M motion
numbers (POSE_SIZE of pose, the rest expression), W width of the network, C = 5 controls (yaw, pitch, roll, scale,
location).

What is unusual:
* Inside the network motion is relative: pose minus the portrait's pose, so an off-centre or turned portrait keeps its
  place; expression stays absolute, 0 being the neutral face. `normalise` and `denormalise` are the two ends.
* The network sees exactly the speech that is known, p frames behind and n ahead, and was trained with windows of any
  length. Look-ahead is limited by cutting the window, which no stack of layers can leak around (an attention mask per
  layer would let it grow with every layer); so the same weights stream.
* It estimates the clean motion, not the velocity (see diffusion.py).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import POSE_SIZE, GeneratorConfig
from anitalker.motion.lip_regressor import LipRegressor
from anitalker.motion.transformer import Block, SpeechFront, rotary_table

CONTROLS = ("yaw", "pitch", "roll", "scale", "location")
CONTROL_INDICES = (0, 1, 2, 5, 3)  # their places in the motion code


class MotionGenerator(nn.Module):
    """The network. Its sizes and the normalisation of its motion stand in GeneratorConfig."""

    def __init__(self, config: GeneratorConfig = GeneratorConfig()) -> None:
        super().__init__()
        self.config = config
        width, size = config.width, config.motion_size
        self.speech = SpeechFront(config.speech_size, width, config.speech_layers, config.dropout)
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
        # Projection onto what speech decides (lips, jaw, cheeks) in normalised motion; measured by the training.
        self.register_buffer("spoken", torch.zeros(size, size))

    def normalise(self, motion: Tensor, start: Tensor) -> Tensor:
        """Codes [B,L,M] of a portrait with code `start` [B,M] -> what the network sees [B,L,M]."""
        return (motion - _pose_of(start) - self.mean) / self.std

    def denormalise(self, x: Tensor, start: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x * self.std + self.mean + _pose_of(start)

    def encode_speech(self, speech: Tensor) -> Tensor:
        """Speech features [B,L,S] -> [B,L,W]; once per window, whatever the number of sampler steps."""
        return self.speech(speech)

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        heard: Tensor,
        start: Tensor,
        previous: Tensor,
        controls: Tensor,
        given: Tensor,
        deaf: Tensor | None = None,
    ) -> Tensor:
        """Estimate the clean motion [B,n,M] (normalised, as all motion here).

        noisy [B,n,M]; time [B] in 0..1; heard [B,L,W] from `encode_speech`; start [B,M] the portrait's own code;
        previous [B,p,M]; controls [B,L,C] in units of the normalised motion, obeyed where given [B,L,C] is 1; deaf [B]
        bool: ignore the speech.
        """
        x = self.enter(noisy, heard, previous, controls, given, deaf)
        condition = F.silu(self.time(time_embedding(time)) + self.start((start - self.mean) / self.std))
        rotary = rotary_table(x.shape[1], self.config.width // self.config.heads, x.device)
        for block in self.blocks:
            x = block(x, condition, rotary)
        shift, scale = self.set(condition)[:, None].chunk(2, -1)
        x = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        return self.out(x[:, previous.shape[1] :])

    def enter(
        self, noisy: Tensor, heard: Tensor, previous: Tensor, controls: Tensor, given: Tensor, deaf: Tensor | None
    ) -> Tensor:
        """What the blocks begin with [B,L,W]; arguments as `forward`'s."""
        if deaf is not None:
            heard = torch.where(deaf[:, None, None], self.no_speech, heard)
        known = torch.cat([torch.ones_like(previous[..., :1]), torch.zeros_like(noisy[..., :1])], 1)
        return self.into(torch.cat([torch.cat([previous, noisy], 1), known, controls * given, given], -1)) + heard


def _pose_of(start: Tensor) -> Tensor:
    pose = start[:, None].clone()
    pose[..., POSE_SIZE:] = 0
    return pose


def time_embedding(time: Tensor) -> Tensor:
    """Time [B] in 0..1 -> sines and cosines [B,64]."""
    angles = time[:, None] * torch.exp(torch.linspace(0, math.log(200), 32, device=time.device))
    return torch.cat([angles.sin(), angles.cos()], -1)
