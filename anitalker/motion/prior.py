"""How likely a motion is, and whether a picture shows a face that we can animate.

Letters: B pictures or frames, M = 20 motion numbers, D appearance code (HAL), K directions.

A normalizing flow over motion codes (neural spline flow, Durkan et al. 2019, through the library zuko) gives exact
log-likelihoods, draws idle motion, and pulls implausible motion back. A Gaussian of few directions (Tipping and
Bishop 1999) does the same for appearance codes. Together with the detector's score and with how well landmarks agree
when the face is looked at again from other crops, they tell faces from what only looks like one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import MotionPriorConfig
from anitalker.faces.landmarks import face_height
from anitalker.motion.occlusion import OcclusionProbe

if TYPE_CHECKING:
    from anitalker.faces.crop import Crop
    from anitalker.faces.detection import FaceFinder

SCORES = ("motion", "appearance", "detector", "landmarks")  # in the order of `MotionPrior.middle`; larger is better
# What is said where a sign is the one that is most unusual.
REASONS = {
    "motion": "its pose or expression is unlike any that was learned from",
    "appearance": "it does not look like a photographed face",
    "detector": "it is hardly recognised as a face",
    "landmarks": "eyes, nose and mouth cannot be placed with certainty; something may cover them",
}
LOOKS = ((0.0, 0.0, 1.0), (0.06, 0.0, 1.1), (-0.06, 0.03, 0.92), (0.0, -0.06, 1.15))  # shift x, y, size of the crops


def broadcast(*tensors: Tensor, ignore: int = 0) -> list[Tensor]:
    """What zuko's own does, tensors [...,*ignored] to one shape [...], without torch.broadcast_shapes, whose first call
    loads sympy: half a second."""
    ends = [one.shape[one.ndim - ignore :] for one in tensors]
    scalars = [one.new_empty(()).expand(one.shape[: one.ndim - ignore]) for one in tensors]
    common = torch.broadcast_tensors(*scalars)[0].shape
    return [one.expand(*common, *end) for one, end in zip(tensors, ends, strict=True)]


class MotionPrior(nn.Module):
    """The flow, the Gaussian, and what is usual for real faces (`middle`, `spread`, `limits`; measured by training)."""

    def __init__(self, config: MotionPriorConfig) -> None:
        super().__init__()
        import zuko

        zuko.transforms.broadcast = broadcast
        self.config = config
        hidden = (config.hidden,) * config.layers
        shape = {"bins": config.bins, "transforms": config.steps, "hidden_features": hidden}
        self.flow = zuko.flows.NSF(config.motion_size, **shape)
        for name in ("mean", "std"):
            self.register_buffer(f"motion_{name}", torch.full((config.motion_size,), float(name == "std")))
        self.register_buffer("appearance_mean", torch.zeros(config.code_size))
        self.register_buffer("directions", torch.zeros(config.directions, config.code_size))  # orthonormal rows
        self.register_buffer("variances", torch.ones(config.directions))
        self.register_buffer("noise", torch.ones(()))  # variance of what the directions leave
        self.register_buffer("middle", torch.zeros(len(SCORES)))  # median of each sign over real faces
        self.register_buffer("spread", torch.ones(len(SCORES)))  # from the median to the lower 16%
        self.register_buffer("limits", torch.tensor([math.inf, math.inf]))  # of strangeness: a word; a refusal
        self.covers = OcclusionProbe(config.code_size)

    @classmethod
    def from_config(cls, config: Mapping) -> MotionPrior:
        """The network of a weight file's config."""
        return cls(MotionPriorConfig(**config["prior"]))

    def log_prob(self, motion: Tensor) -> Tensor:
        """Log-likelihood [B] of motion codes [B,M], in nats."""
        x = (motion - self.motion_mean) / self.motion_std
        return self.flow().log_prob(x) - self.motion_std.log().sum()

    def appearance_log_prob(self, code: Tensor) -> Tensor:
        """Log-likelihood [B] of appearance codes [B,D]: probabilistic principal components."""
        away = code - self.appearance_mean
        along = away @ self.directions.T
        rest = (away.square().sum(-1) - along.square().sum(-1)).clamp(min=0)
        left = self.config.code_size - self.config.directions
        distance = (along.square() / self.variances).sum(-1) + rest / self.noise
        volume = self.variances.log().sum() + left * self.noise.log() + self.config.code_size * math.log(2 * math.pi)
        return -0.5 * (distance + volume)

    def to_latent(self, motion: Tensor) -> Tensor:
        """Motion codes [...,M] -> their places in the flow's space, where real codes are a unit Gaussian."""
        return self.flow().transform((motion - self.motion_mean) / self.motion_std)

    def from_latent(self, z: Tensor) -> Tensor:
        """The inverse of `to_latent`."""
        return self.flow().transform.inv(z) * self.motion_std + self.motion_mean

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator, calm: float = 1.0) -> Tensor:
        """Motion codes [count,M] as real faces show them; calm below 1 stays near the most usual. CPU generator."""
        z = calm * torch.randn(count, self.config.motion_size, generator=rng).to(self.motion_mean.device)
        return self.from_latent(z)

    @torch.no_grad()
    def pull_back(self, motion: Tensor, floor: float, halvings: int = 6) -> tuple[Tensor, int]:
        """Motion [B,M] whose log-likelihood is below `floor`, brought towards the middle until it passes; how many.

        The way is straight in the flow's Gaussian space; a bisection finds the furthest place of it that passes. The
        rest is returned as it came, to the bit. A floor that not even the middle reaches leaves the middle.
        """
        low = self.log_prob(motion) < floor
        if not low.any():
            return motion, 0
        z = self.to_latent(motion[low])
        inside, outside = torch.zeros_like(z[:, :1]), torch.ones_like(z[:, :1])
        for _ in range(halvings):
            middle = (inside + outside) / 2
            passes = self.log_prob(self.from_latent(middle * z))[:, None] >= floor
            inside, outside = torch.where(passes, middle, inside), torch.where(passes, outside, middle)
        back = motion.clone()
        back[low] = self.from_latent(inside * z)
        return back, int(low.sum())

    @torch.no_grad()
    def signs(self, motion: Tensor, appearance: Tensor, score: float, residual: float) -> Tensor:
        """The four SIGNS of one face, larger is more usual: [1,M], [1,D], the detector's score, landmark residual."""
        odds = math.log(max(score, 1e-4) / max(1 - score, 1e-4))
        rest = torch.tensor([odds, -math.log(max(residual, 1e-5))], device=motion.device)
        return torch.cat([self.log_prob(motion), self.appearance_log_prob(appearance), rest])

    def strangeness(self, signs: Tensor) -> tuple[Tensor, Tensor]:
        """Signs [...,4] -> how far they stay behind real faces [...], and the share of each sign [...,4].

        Only what is worse than the median counts; each sign in units of its own spread, at most 8 of them.
        """
        behind = ((self.middle - signs) / self.spread).nan_to_num(8.0).clamp(0, 8)
        return behind.square().sum(-1).sqrt(), behind

    def doubt(self, signs: Tensor) -> tuple[bool, str] | None:
        """None for a usual face; else whether to refuse it, and the reason in words."""
        strange, behind = self.strangeness(signs)
        if strange <= self.limits[0]:
            return None
        return bool(strange > self.limits[1]), REASONS[SCORES[int(behind.argmax())]]


@torch.no_grad()
def landmark_residual(finder: FaceFinder, crop: Crop) -> float:
    """How far the 468 points move, in face heights, when the face is looked at from four other crops (rms)."""
    middle = crop.landmarks[:, :2].mean(0)
    starts = []
    for x, y, size in LOOKS:
        points = crop.landmarks.copy()
        points[:, :2] = middle + (points[:, :2] - middle) * size + np.array([x, y]) * float(face_height(crop.landmarks))
        starts.append(points * crop.image.shape[0])
    found = finder.refine(np.stack([crop.image] * len(starts)), np.stack(starts).astype(np.float32))[..., :2]
    away = np.sqrt(np.square(found - found.mean(0)).sum(-1).mean())
    return float(away / (float(face_height(crop.landmarks)) * crop.image.shape[0]))


def space_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a motion space's tensors in float16: a prior fits only the space that it was trained on."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if tensors[name].is_floating_point():
            digest.update(name.encode() + tensors[name].detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()
