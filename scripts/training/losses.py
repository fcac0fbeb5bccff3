"""Losses of stage one; each says what it measures and in which unit. Weights stand in scripts/training/presets.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import LANDMARKS
from anitalker.landmarks import EYES, LIPS, face_height

# The adversarial, mutual-information (CLUB) and margin (AAM) terms join here as classes of their own.


def point_weights() -> Tensor:
    """[468] weights with mean 1: lips and eyes count four times."""
    weight = torch.ones(LANDMARKS)
    weight[list(LIPS)] = 4
    weight[list(EYES)] = 4
    return weight / weight.mean()


def landmark_loss(predicted: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """Mean distance of points in the picture plane in percent of the face height; [B,468,3] twice -> [B]."""
    distance = ((predicted[..., :2] - true[..., :2]).square().sum(-1) + 1e-8).sqrt()
    return 100 * (distance * weights).mean(-1) / face_height(true)


def closed_neutral_loss(neutral: Tensor, allowed: float = 0.012) -> Tensor:
    """Lips of an inferred neutral face [B,468,3] must be shut: gap 13-14 outside 0 .. allowed, percent of face
    height; [B].
    """
    gap = (neutral[:, 14, 1] - neutral[:, 13, 1]) / face_height(neutral)
    return 100 * (F.relu(gap - allowed) + F.relu(-gap))


class IdentityLoss(nn.Module):
    """Cosine softmax over the training people: who the code belongs to (no margin yet: NormFace, Wang et al. 2017)."""

    def __init__(self, people: int, size: int, scale: float = 16.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(people, size))
        self.scale = scale

    def forward(self, code: Tensor, person: Tensor) -> Tensor:
        """Unit codes [B,size] and person numbers [B] -> scalar."""
        return F.cross_entropy(self.scale * code @ F.normalize(self.weight, dim=1).T, person)


class SqueezeFeatures(nn.Module):
    """Feature maps of SqueezeNet 1.0 at strides 4, 8 and 16 for the perceptual loss; weights by path, frozen.

    The file is .npz with the keys of torchvision's squeezenet1_0; its input is RGB 0..255 minus (123, 117, 104).
    """

    TAPS = (1, 4, 7, 9)  # conv1, the second fire module at stride 4, the first and third at stride 8

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_0

        stored = np.load(path)
        net = squeezenet1_0(weights=None)
        state = {k: torch.tensor(stored[k]) for k in stored.files if k.startswith("features")}
        missing = [k for k in net.features.state_dict() if f"features.{k}" not in state]
        if missing:
            raise ValueError(f"{path} lacks {missing[:3]}; it must hold the keys of torchvision's squeezenet1_0")
        net.features.load_state_dict({k.removeprefix("features."): v for k, v in state.items()})
        self.features = net.features[: max(self.TAPS) + 1].requires_grad_(False).to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """[B,3,H,W] in [-1,1] -> feature maps after the layers in TAPS."""
        x, taps = ((pictures + 1) * 127.5 - self.mean).contiguous(memory_format=torch.channels_last), []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.TAPS:
                taps.append(x)
        return taps


class PerceptualLoss(nn.Module):
    """Distance of channel-normalised features (LPIPS without its learned weights, Zhang et al. 2018); [B,3,H,W]
    twice -> [B].
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        with torch.no_grad():
            targets = [F.normalize(f.float(), dim=1) for f in self.features(true)]
        pairs = zip(self.features(predicted), targets, strict=True)
        return sum((F.normalize(p.float(), dim=1) - t).square().sum(1).mean((1, 2)) for p, t in pairs)
