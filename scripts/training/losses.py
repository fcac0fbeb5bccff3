"""Losses of stage one that compare pictures and places; each says what it measures, in which unit and after whom.

Their weights stand in scripts/training/presets.py; the terms that keep who and how apart in separation.py, the
adversarial one in adversarial.py.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import LANDMARKS, InputError
from anitalker.decoder.flow import SEAM
from anitalker.faces.landmarks import EYES, LEFT_LID_PAIRS, LIP_PAIRS, LIPS, RIGHT_LID_PAIRS, face_height, rotation

HEAD = 0.6  # face heights from the canonical origin back to the middle of the head
EDGE = 0.1  # cosine of a point's normal with the line of sight under which its place says little


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


class Photometric(nn.Module):
    """Multi-scale weighted L1: the mean over s of sum |down^s x - down^s y| w_s / sum w_s, down halving by averages.

    L1 after Zhao et al. 2017, "Loss functions for image restoration with neural networks", on a pyramid as in Siarohin
    et al. 2019, "First order motion model", section 3.3: coarse levels still agree where edges have moved.
    """

    def __init__(self, levels: int = 1) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
        """Pictures [B,3,H,W] twice in [-1,1], weights [B,1,H,W] -> scalar, in the pictures' units."""
        total = 0.0
        for level in range(self.levels):
            if level:
                predicted, true, weight = (F.avg_pool2d(x, 2) for x in (predicted, true, weight))
            total = total + ((predicted - true).abs().mean(1, keepdim=True) * weight).mean()
        return total / self.levels


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

    def forward(self, place: Tensor, source: Tensor, target: Tensor, pose_a: Tensor, pose_b: Tensor) -> Tensor:
        """place [B,2,n,n] in crop widths; landmarks [B,468,3], poses [B,6] of source and target -> scalar, percent."""
        at = 2 * target[:, None, :, :2] - 1
        found = F.grid_sample(place, at, padding_mode="border", align_corners=False)[:, :, 0].transpose(1, 2)
        off = ((found - source[..., :2]).square().sum(-1) + 1e-8).sqrt() / face_height(target)[:, None]
        weight = self.weights * self._seen(pose_a) * self._seen(pose_b) * _open(source)
        return 100 * (off * weight).sum() / weight.sum().clamp_min(1)

    def _seen(self, pose: Tensor) -> Tensor:
        """[B,6] -> [B,468], 1 where the head's surface looks at the camera (towards -z)."""
        depth = (self.normals @ rotation(pose[:, :3]).transpose(1, 2))[..., 2]
        return (depth < -EDGE).float()


def _open(landmarks: Tensor) -> Tensor:
    """[B,468,3] -> [B,468]: 0 for points of inner lips and lids that are shut (closer than SEAM), else 1."""
    pairs = torch.tensor(LIP_PAIRS + RIGHT_LID_PAIRS + LEFT_LID_PAIRS, device=landmarks.device)
    gap = (landmarks[:, pairs[:, 0], :2] - landmarks[:, pairs[:, 1], :2]).norm(dim=-1)
    keep = torch.ones_like(landmarks[..., 0])
    return keep.scatter(1, pairs.T.reshape(1, -1).expand(len(keep), -1), (gap > SEAM).float().repeat(1, 2))


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


class VGGFeatures(nn.Module):
    """Feature maps of torchvision's VGG19 (Simonyan & Zisserman 2015) after relu1_2 ... relu5_2, trained on ImageNet.

    Without a path torchvision fetches its own weights (548 MB, once, into its cache) and this says so.
    """

    TAPS = (3, 8, 13, 22, 31)

    def __init__(self, path: str | Path | None = None) -> None:
        super().__init__()
        from torchvision.models import VGG19_Weights, vgg19

        if path is None:
            print(
                "perceptual loss: torchvision's VGG19 weights, fetched once (548 MB) if they are not there", flush=True
            )
        try:
            net = vgg19(weights=VGG19_Weights.IMAGENET1K_V1 if path is None else None)
            if path is not None:
                net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            source = "VGG19 could not be fetched" if path is None else f"{path} is no state dict of VGG19"
            raise InputError(f"{source} ({reason}); give --features FILE, or none for no perceptual loss") from error
        self.features = net.features[: max(self.TAPS) + 1].requires_grad_(False).to(memory_format=torch.channels_last)
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # what is tapped must stay as it is
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """[B,3,H,W] in [-1,1] -> feature maps after the layers in TAPS."""
        x, taps = (((pictures + 1) / 2 - self.mean) / self.std).contiguous(memory_format=torch.channels_last), []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.TAPS:
                taps.append(x)
        return taps


def feature_network(source: str) -> nn.Module | None:
    """`vgg19` (fetched by torchvision), `none`, or a file: .npz of SqueezeNet 1.0, else a state dict of VGG19."""
    if source == "none":
        return None
    if source == "vgg19":
        return VGGFeatures()
    if not Path(source).is_file():
        raise InputError(f"feature network {source!r} is no file; give vgg19, none, or a file (.npz of SqueezeNet 1.0)")
    return SqueezeFeatures(source) if source.endswith(".npz") else VGGFeatures(source)


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
