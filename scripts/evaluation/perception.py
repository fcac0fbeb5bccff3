"""Perceptual distance of made and true frames, of the whole picture and of mouth and eyes by themselves.

The distance is LPIPS without its learned weights (Zhang et al., CVPR 2018, eq. 1 with w = 1): squared differences of
feature maps, normalised over the channels, averaged over places and added over the layers. The features are
SqueezeNet's or VGG19's; or a TorchScript network (.pt, .ts) takes made and true, [B,3,H,W] twice in [-1,1], and gives a
distance per picture, as LPIPS itself exports. Numbers of different networks cannot be compared.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import InputError
from anitalker.faces.landmarks import LEFT_EYE, LIPS, RIGHT_EYE, face_height

BATCH = 16
PATCH = 96  # pixels of a mouth or an eye, enlarged
PARTS = {"mouth": ((LIPS, 0.46),), "eyes": ((RIGHT_EYE, 0.3), (LEFT_EYE, 0.3))}  # points, side in face heights
SQUEEZENET = "nets/squeezenet1_0_imagenet.npz"  # where a data folder may keep it


def features_file(data_dir: str, chosen: str | None) -> str:
    """What was asked for, else the data folder's own SqueezeNet, else `none`: no perceptual distance is measured."""
    own = Path(data_dir) / SQUEEZENET
    return chosen or (str(own) if own.is_file() else "none")


class Perception:
    """Perceptual distances by a network: `vgg19`, .npz of SqueezeNet, .pth of VGG19, or TorchScript (.pt, .ts)."""

    def __init__(self, source: str | os.PathLike) -> None:
        from scripts.training.losses import PerceptualLoss, feature_network

        if str(source).endswith((".pt", ".ts")):
            try:
                self.network = torch.jit.load(str(source), map_location="cpu").eval()
            except (RuntimeError, ValueError, OSError) as error:
                line = " ".join(str(error).split())[:100]
                raise InputError(f"features {str(source)!r} are no TorchScript network ({line})") from None
        else:
            self.network = PerceptualLoss(feature_network(str(source))).eval()

    @torch.inference_mode()
    def distance(self, made: Tensor, true: Tensor) -> np.ndarray:
        """[T,3,H,W] twice in [-1,1] -> [T]."""
        pairs = zip(made.split(BATCH), true.split(BATCH), strict=True)
        return torch.cat([self.network(a, b).reshape(len(a)) for a, b in pairs]).float().numpy()

    def __call__(self, made: np.ndarray, true: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [T,H,W,3] twice and the true frames' points [T,468,3] -> perceptual, mouth and eyes, [T] each.

        Both pictures are cut at the places where the true frame has mouth and eyes: a mouth elsewhere is wrong.
        """
        a, b, points = to_pictures(made), to_pictures(true), torch.from_numpy(np.array(labels))
        values = {"perceptual": self.distance(a, b)}
        for name, groups in PARTS.items():
            cuts = [(patch(a, points, *group), patch(b, points, *group)) for group in groups]
            values[name] = np.mean([self.distance(*cut) for cut in cuts], 0)
        return values


def to_pictures(frames: np.ndarray) -> Tensor:
    """uint8 [T,H,W,3] -> float [T,3,H,W] in [-1,1]."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def patch(pictures: Tensor, points: Tensor, group: tuple[int, ...], side: float) -> Tensor:
    """The square about a group of points [T,468,3], `side` face heights wide: [T,3,H,W] -> [T,3,PATCH,PATCH]."""
    middle = points[:, list(group), :2].mean(1)  # [T,2], crop units
    half = face_height(points) * side / 2
    axis = (torch.arange(PATCH) + 0.5) * 2 / PATCH - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = middle[:, None, None] + half[:, None, None, None] * torch.stack([x, y], -1)
    return F.grid_sample(pictures, 2 * places - 1, padding_mode="border", align_corners=False)
