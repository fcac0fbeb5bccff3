"""Perceptual distance of generated and true frames, of the whole picture and of mouth and eyes by themselves.

The distance is LPIPS without its learned weights (Zhang et al., CVPR 2018, eq. 1 with w = 1): squared differences of
feature maps, normalised over the channels, averaged over places and added over the layers. The features are
SqueezeNet's or VGG19's; or a TorchScript network (.pt, .ts) takes output and target, [B,3,H,W] twice in [-1,1], and
gives a distance per picture, as LPIPS itself exports. Numbers of different networks cannot be compared.
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
from encoders.image import to_tensor
from scripts.training.losses import PerceptualLoss, feature_network

BATCH = 16
PATCH = 96  # pixels of a mouth or an eye, enlarged
PARTS = {"mouth": ((LIPS, 0.46),), "eyes": ((RIGHT_EYE, 0.3), (LEFT_EYE, 0.3))}  # points, side in face heights
SQUEEZENET = "nets/squeezenet1_0_imagenet.npz"  # where a data folder may keep it


def features_file(data_dir: str, chosen: str | None) -> str:
    """What was asked for, else the data folder's own SqueezeNet, else `none`: no perceptual distance is measured."""
    shipped = Path(data_dir) / SQUEEZENET
    return chosen or (str(shipped) if shipped.is_file() else "none")


def load_torchscript(path: str, option: str) -> torch.jit.ScriptModule:
    """The network in a file for a command-line option; InputError if it is none."""
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        line = " ".join(str(error).split())[:100]
        raise InputError(
            f"{option} is {path!r}, which is no TorchScript file ({line}); export the network with torch.jit.save"
        ) from None


class Perception:
    """Perceptual distances by a network: `vgg19`, .npz of SqueezeNet, .pth of VGG19, or TorchScript (.pt, .ts)."""

    def __init__(self, source: str | os.PathLike) -> None:
        source = str(source)
        scripted = source.endswith((".pt", ".ts"))
        network = load_torchscript(source, "features") if scripted else PerceptualLoss(feature_network(source))
        self.network = network.eval()

    @torch.inference_mode()
    def distance(self, output: Tensor, target: Tensor) -> np.ndarray:
        """[T,3,H,W] twice in [-1,1] -> [T]."""
        pairs = zip(output.split(BATCH), target.split(BATCH), strict=True)
        return torch.cat([self.network(a, b).reshape(len(a)) for a, b in pairs]).float().numpy()

    def __call__(self, output: np.ndarray, target: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [T,H,W,3] twice and the true frames' points [T,468,3] -> perceptual, mouth and eyes, [T] each.

        Both pictures are cut at the places where the true frame has mouth and eyes: a mouth elsewhere is wrong.
        """
        a, b, points = (torch.from_numpy(np.array(array)) for array in (output, target, labels))
        a, b = to_tensor(a), to_tensor(b)
        return {"perceptual": self.distance(a, b), **self.parts(a, b, points)}

    def parts(self, output: Tensor, target: Tensor, points: Tensor) -> dict[str, np.ndarray]:
        """[T,3,H,W] twice in [-1,1], points [T,468,3] -> distances [T] of mouth and eyes by themselves."""
        values = {}
        for name, groups in PARTS.items():
            cuts = [(patch(output, points, *group), patch(target, points, *group)) for group in groups]
            values[name] = np.mean([self.distance(*cut) for cut in cuts], 0)
        return values


def patch(pictures: Tensor, points: Tensor, group: tuple[int, ...], side: float) -> Tensor:
    """The square about a group of points [T,468,3], `side` face heights wide: [T,3,H,W] -> [T,3,PATCH,PATCH]."""
    return squares(pictures, points[:, list(group), :2].mean(1), face_height(points) * side / 2, PATCH)


def squares(pictures: Tensor, centres: Tensor, halves: Tensor, size: int) -> Tensor:
    """Squares of pictures [T,3,H,W], by centre [T,2] and half side [T] in crop units -> [T,3,size,size]."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = centres[:, None, None] + halves[:, None, None, None] * torch.stack([x, y], -1)
    return F.grid_sample(pictures, 2 * places - 1, padding_mode="border", align_corners=False)
