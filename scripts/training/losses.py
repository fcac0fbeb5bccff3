"""Losses of stage one that compare pictures and places; each says what it measures, in which unit and after whom.

Their weights stand in scripts/training/presets.py; the terms that keep who and how apart in separation.py, the
adversarial one in pictures.py.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VGG19_Weights, squeezenet1_0, vgg19
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import v2

from anitalker.config import LANDMARKS, InputError
from anitalker.decoder.flow import CLOSED_GAP
from anitalker.faces.landmarks import EYES, LEFT_LID_PAIRS, LIP_PAIRS, LIPS, RIGHT_LID_PAIRS, face_height, rotation
from scripts.training.pairs import Pairs

HEAD = 0.6  # face heights from the canonical origin back to the middle of the head
EDGE = 0.1  # cosine of a point's normal with the line of sight under which its place says little


def point_weights(features: float = 4.0) -> Tensor:
    """[468] weights with mean 1: lips and eyes count `features` times as much as the rest."""
    weight = torch.ones(LANDMARKS)
    weight[[*LIPS, *EYES]] = features
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


def photometric(predicted: Tensor, true: Tensor, weight: Tensor, levels: int = 1) -> Tensor:
    """Multi-scale weighted L1 of pictures [B,3,H,W] under weights [B,1,H,W], each level half as large by averages.

    L1 after Zhao et al. 2017, "Loss functions for image restoration with neural networks", on a pyramid as in Siarohin
    et al. 2019, "First order motion model", section 3.3: coarse levels still agree where edges have moved.
    """
    total = 0.0
    for level in range(levels):
        if level:
            predicted, true, weight = (F.avg_pool2d(x, 2) for x in (predicted, true, weight))
        total = total + ((predicted - true).abs().mean(1, keepdim=True) * weight).mean()
    return total / levels


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of [B,n] under weights [B,n]."""
    return (values * weight).sum() / weight.sum().clamp(min=1)


class LandmarkFlow(nn.Module):
    """Landmark-flow supervision: at a target landmark p_b the frame's pixel must come from the source landmark p_a.

    100 E_p w_p |place(p_b) - p_a| / face height, place(x) = where the flow at x points. It tells a flow where to go
    before pixels can (the gradient of L1 reaches a pixel or two), and fades, half as strong every `half_life` steps,
    because pixels know better in the end. Points that face away weigh nothing, nor do inner lips and lids that the
    source shows shut: there one place has two sources.
    """

    def __init__(self, canonical: Tensor, half_life: float) -> None:
        super().__init__()
        self.half_life = half_life
        self.register_buffer("weights", point_weights(), persistent=False)
        centre = torch.tensor([0.0, canonical[:, 1].mean(), HEAD], device=canonical.device)
        self.register_buffer("normals", F.normalize(canonical - centre, dim=1), persistent=False)

    def strength(self, step: int) -> float:
        """Factor at this step: 1, falling to 0."""
        return 0.5 ** (step / self.half_life)

    def forward(self, place: Tensor, pairs: Pairs) -> Tensor:
        """place [B,2,n,n] in crop widths -> scalar, percent of the face height."""
        source, target = pairs.landmarks_a, pairs.landmarks_b
        points = 2 * target[:, None, :, :2] - 1
        origin = F.grid_sample(place, points, padding_mode="border", align_corners=False)[:, :, 0].transpose(1, 2)
        error = ((origin - source[..., :2]).square().sum(-1) + 1e-8).sqrt() / face_height(target)[:, None]
        weight = self.weights * self._seen(pairs.codes_a) * self._seen(pairs.codes_b) * _open(source)
        return 100 * (error * weight).sum() / weight.sum().clamp_min(1)

    def _seen(self, codes: Tensor) -> Tensor:
        """Codes [B,20] -> [B,468], 1 where the head's surface looks at the camera (towards -z)."""
        depth = (self.normals @ rotation(codes[:, :3]).transpose(1, 2))[..., 2]
        return (depth < -EDGE).float()


def _open(landmarks: Tensor) -> Tensor:
    """[B,468,3] -> [B,468]: 0 for points of inner lips and lids that are shut (closer than CLOSED_GAP), else 1."""
    pairs = torch.tensor(LIP_PAIRS + RIGHT_LID_PAIRS + LEFT_LID_PAIRS, device=landmarks.device)
    gap = (landmarks[:, pairs[:, 0], :2] - landmarks[:, pairs[:, 1], :2]).norm(dim=-1)
    keep = torch.ones_like(landmarks[..., 0])
    return keep.scatter(1, pairs.T.reshape(1, -1).expand(len(keep), -1), (gap > CLOSED_GAP).float().repeat(1, 2))


class Features(nn.Module):
    """Feature maps of a classifier's convolutions after the layers at `taps`; frozen.

    Input: RGB, (x - mean) / std of x in 0..1.
    """

    def __init__(self, network: nn.Module, taps: tuple[int, ...], mean: tuple, std: tuple) -> None:
        super().__init__()
        for layer in network.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # what is tapped must stay as it is
        self.layers = create_feature_extractor(network, {f"features.{tap}": str(tap) for tap in taps})
        self.layers.requires_grad_(False).to(memory_format=torch.channels_last)
        self.normalise = v2.Normalize(mean, std)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """[B,3,H,W] in [-1,1] -> feature maps after the tapped layers."""
        x = self.normalise((pictures + 1) / 2).contiguous(memory_format=torch.channels_last)
        return list(self.layers(x).values())


def squeezenet_features(path: str) -> Features:
    """SqueezeNet 1.0 at strides 4, 8 and 16; weights: .npz with the keys of torchvision's squeezenet1_0, whose input is
    0..255 minus (123, 117, 104).
    """
    stored, network = np.load(path), squeezenet1_0(weights=None)
    state = {key: torch.tensor(stored[key]) for key in stored.files if key.startswith("features.")}
    if missing := [key for key in network.state_dict() if key.startswith("features.") and key not in state]:
        raise InputError(f"{path} lacks {missing[:3]}; it must hold the keys of torchvision's squeezenet1_0")
    network.load_state_dict(state, strict=False)
    return Features(network, (1, 4, 7, 9), (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3)


def vgg19_features(path: str | None) -> Features:
    """VGG19 (Simonyan & Zisserman 2015) after relu1_2 ... relu5_2, trained on ImageNet; weights: a state dict of
    torchvision's. Without a path torchvision fetches its own (548 MB, once, into its cache) and this says so.
    """
    try:
        if path is None:
            print(
                "perceptual loss: torchvision's VGG19 weights, fetched once (548 MB) if they are not there", flush=True
            )
            network = vgg19(weights=VGG19_Weights.IMAGENET1K_V1)
        else:
            network = vgg19(weights=None)
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        source = "VGG19 could not be fetched" if path is None else f"{path} is no state dict of VGG19"
        advice = "give --perceptual-network FILE, or none for no perceptual loss"
        raise InputError(f"{source} ({str(error).splitlines()[0]}); {advice}") from error
    return Features(network, (3, 8, 13, 22, 31), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def feature_network(source: str) -> Features | None:
    """`vgg19` (fetched by torchvision), `none`, or a file: .npz of SqueezeNet 1.0, else a state dict of VGG19."""
    if source in ("none", "vgg19"):
        return None if source == "none" else vgg19_features(None)
    if not Path(source).is_file():
        raise InputError(f"feature network {source!r} is no file; give vgg19, none, or a file (.npz of SqueezeNet 1.0)")
    return squeezenet_features(source) if source.endswith(".npz") else vgg19_features(source)


class PerceptualLoss(nn.Module):
    """Distance of channel-normalised features (LPIPS without its learned weights, Zhang et al. 2018); [B,3,H,W]
    twice -> [B].
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Pictures [B,3,H,W] twice in [-1,1] -> [B]."""
        with torch.no_grad():
            targets = self.features(true)
        return feature_distance(self.features(predicted), targets)


def feature_distance(predicted: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    """Squared distance of feature maps, each place's channels scaled to length one: [B,C,h,w] each -> [B]."""
    normalised = ([F.normalize(maps.float(), dim=1) for maps in features] for features in (predicted, true))
    return sum((p - t).square().sum(1).mean((1, 2)) for p, t in zip(*normalised, strict=True))
