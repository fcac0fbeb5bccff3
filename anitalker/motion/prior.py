"""How likely a motion is, and whether a picture shows a face that we can animate.

Letters: B pictures or frames, M = 20 motion numbers, D appearance code (HAL), K directions.

A normalizing flow over motion codes (neural spline flow, Durkan et al. 2019, from the library zuko) gives exact
log-likelihoods, samples idle motion, and pulls implausible motion back. A Gaussian of few directions (Tipping and
Bishop 1999) gives log-likelihoods of appearance codes. Four scores (the two likelihoods, the detector's confidence, and
how well landmarks of shifted crops agree) tell faces from what only resembles one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.faces.landmarks import face_height
from anitalker.motion.occlusion import OcclusionProbe
from anitalker.network_config import MotionPriorConfig

if TYPE_CHECKING:
    from anitalker.faces.crop import Crop
    from anitalker.faces.detection import FaceFinder

SCORES = ("motion", "appearance", "detector", "landmarks")  # in the order of `MotionPrior.middle`; larger is better
# The explanation where this score is the most unusual one.
REASONS = {
    "motion": "its pose or expression is unlike any that was learned from",
    "appearance": "it does not look like a photographed face",
    "detector": "it is hardly recognised as a face",
    "landmarks": "eyes, nose and mouth cannot be placed with certainty; something may cover them",
}
# Variations of the crop in which landmarks are found again: shift x and y in face heights, relative size.
CROP_VARIATIONS = ((0.0, 0.0, 1.0), (0.06, 0.0, 1.1), (-0.06, 0.03, 0.92), (0.0, -0.06, 1.15))
MAX_DEVIATION = 8.0  # a score counts as at most this many spreads worse than the median


def broadcast(*tensors: Tensor, ignore: int = 0) -> list[Tensor]:
    """As zuko.utils.broadcast: expand tensors to one shape, leaving their last `ignore` dimensions as they are.

    zuko's own calls torch.broadcast_shapes, whose first call imports sympy, which takes half a second.
    """
    ends = [tensor.shape[tensor.ndim - ignore :] for tensor in tensors]
    scalars = [tensor.new_empty(()).expand(tensor.shape[: tensor.ndim - ignore]) for tensor in tensors]
    common = torch.broadcast_tensors(*scalars)[0].shape
    return [tensor.expand(*common, *end) for tensor, end in zip(tensors, ends, strict=True)]


class MotionPrior(nn.Module):
    """The flow, the Gaussian, and the usual scores of real faces (`middle`, `spread`, `limits`; set in training)."""

    motion_mean: Tensor
    motion_std: Tensor
    appearance_mean: Tensor
    directions: Tensor
    variances: Tensor
    noise: Tensor
    middle: Tensor
    spread: Tensor
    limits: Tensor

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
        self.register_buffer("noise", torch.ones(()))  # variance outside the directions
        self.register_buffer("middle", torch.zeros(len(SCORES)))  # median of each score over real faces
        self.register_buffer("spread", torch.ones(len(SCORES)))  # from the median to the lower 16%
        self.register_buffer("limits", torch.tensor([math.inf, math.inf]))  # of the anomaly score: to warn, to reject
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
        deviation = code - self.appearance_mean
        projected = deviation @ self.directions.T
        residual = (deviation.square().sum(-1) - projected.square().sum(-1)).clamp(min=0)
        other_directions = self.config.code_size - self.config.directions
        distance = (projected.square() / self.variances).sum(-1) + residual / self.noise
        log_det = self.variances.log().sum() + other_directions * self.noise.log()
        return -0.5 * (distance + (log_det + self.config.code_size * math.log(2 * math.pi)))

    def to_latent(self, motion: Tensor) -> Tensor:
        """Motion codes [...,M] -> the flow's latent space [...,M], where real codes are a unit Gaussian."""
        return self.flow().transform((motion - self.motion_mean) / self.motion_std)

    def from_latent(self, z: Tensor) -> Tensor:
        """The inverse of `to_latent`."""
        return self.flow().transform.inv(z) * self.motion_std + self.motion_mean

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Motion codes [count,M] as real faces show them; below temperature 1 nearer to the usual. CPU generator."""
        z = temperature * torch.randn(count, self.config.motion_size, generator=rng).to(self.motion_mean.device)
        return self.from_latent(z)

    @torch.no_grad()
    def plausibility_scores(self, motion: Tensor, appearance: Tensor, confidence: float, residual: float) -> Tensor:
        """The four SCORES [4] of one face; larger is more plausible.

        motion [1,M] and appearance [1,D]: its codes; confidence: the detector's, 0..1; residual: `landmark_residual`.
        """
        log_odds = math.log(max(confidence, 1e-4) / max(1 - confidence, 1e-4))
        other_scores = torch.tensor([log_odds, -math.log(max(residual, 1e-5))], device=motion.device)
        return torch.cat([self.log_prob(motion), self.appearance_log_prob(appearance), other_scores])

    def anomaly_score(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Plausibility scores [...,4] -> how much worse they are than real faces' [...], and each one's share [...,4].

        Scores count where they are below the median, in units of their own spread, up to MAX_DEVIATION. NaN counts as
        MAX_DEVIATION.
        """
        deviations = ((self.middle - scores) / self.spread).nan_to_num(MAX_DEVIATION).clamp(0, MAX_DEVIATION)
        return deviations.square().sum(-1).sqrt(), deviations

    def rejection(self, scores: Tensor) -> tuple[bool, str] | None:
        """None for a usual face; else whether to reject it (or only to warn), and the reason as a sentence."""
        anomaly, deviations = self.anomaly_score(scores)
        if anomaly <= self.limits[0]:
            return None
        return bool(anomaly > self.limits[1]), REASONS[SCORES[int(deviations.argmax())]]


@torch.no_grad()
def landmark_residual(finder: FaceFinder, crop: Crop) -> float:
    """Disagreement of the 468 landmarks found in the four CROP_VARIATIONS: rms deviation in face heights."""
    centre = crop.landmarks[:, :2].mean(0)
    starts = []
    for x, y, size in CROP_VARIATIONS:
        points = crop.landmarks.copy()
        points[:, :2] = centre + (points[:, :2] - centre) * size + np.array([x, y]) * float(face_height(crop.landmarks))
        starts.append(points * crop.image.shape[0])
    refined = finder.refine(np.stack([crop.image] * len(starts)), np.stack(starts).astype(np.float32))[..., :2]
    rms = np.sqrt(np.square(refined - refined.mean(0)).sum(-1).mean())
    return float(rms / (float(face_height(crop.landmarks)) * crop.image.shape[0]))


def space_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a motion space's tensors in float16. A prior fits only the space that it was trained on."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if tensors[name].is_floating_point():
            digest.update(name.encode() + tensors[name].detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()
