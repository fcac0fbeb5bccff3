"""Iris locator: where the irises of a portrait are, and how sure that is.

Letters: B pictures, E = 2 eyes in the order of `eyelids.EYES`, N = 468 landmarks. Each eye is seen in its own axes
(`eyelids.eye_axes`): `a` from the outer to the inner corner and `b` downward across it, in eye widths. So the left eye
is seen as a mirrored right one, and one network serves both. It learned from the labels of a mesh of 478 points
(scripts/train_iris.py) and tells its own expected error: large where lids, hair or glasses hide the iris.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.decoder.eyelids import eye_axes
from anitalker.network_config import IrisConfig

PATCH = (32, 48)  # rows and columns of an eye patch
SPAN = ((-0.25, 1.25), (-0.5, 0.5))  # of a patch along a and b
USUAL = (0.5, -0.05, 0.21)  # a, b and radius of the usual iris
SPREAD = 0.1  # eye widths that an output of 1 stands for


@dataclass(frozen=True)
class IrisPlaces:
    """centre [B,E,2] in a and b, radius [B,E] and error [B,E], the expected one of the centre, in eye widths."""

    centre: Tensor
    radius: Tensor
    error: Tensor


class IrisNetwork(nn.Module):
    """Three strided convolutions and two linear layers over an eye patch."""

    def __init__(self, config: IrisConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3, *config.channels)
        self.convolutions = nn.Sequential()
        for inputs, outputs in pairwise(widths):
            self.convolutions.extend([nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()])
            self.convolutions.extend([nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU()])
        cells = (PATCH[0] >> len(config.channels)) * (PATCH[1] >> len(config.channels))
        self.hidden = nn.Linear(cells * widths[-1], config.hidden)
        self.out = nn.Linear(config.hidden, 4)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Patches [n,3,32,48] in [-1,1] -> centre [n,2], radius [n], and log of the expected error [n]."""
        mean = patches.mean((2, 3), keepdim=True)
        contrast = patches.std((1, 2, 3), keepdim=True).clamp(min=0.02)
        hidden = F.relu(self.hidden(self.convolutions((patches - mean) / contrast).flatten(1)))
        out = self.out(hidden).float()
        centre = out[:, :2] * SPREAD + out.new_tensor(USUAL[:2])
        return (
            centre,
            USUAL[2] * torch.exp(SPREAD * out[:, 2]),
            out[:, 3].clamp(-6, 3) + torch.log(out.new_tensor(0.03)),
        )

    def locate(self, pictures: Tensor, landmarks: Tensor) -> IrisPlaces:
        """Pictures [B,3,H,W] in [-1,1] and landmarks [B,N,>=2] in picture widths -> places of both irises."""
        centre, radius, error = self(eye_patches(pictures, landmarks))
        shape = len(pictures), 2
        return IrisPlaces(centre.view(*shape, 2), radius.view(shape), error.exp().view(shape))


def eye_patches(pictures: Tensor, landmarks: Tensor) -> Tensor:
    """Pictures [B,3,H,W] and landmarks [B,N,>=2] in picture widths -> both eyes in their axes, [B E,3,32,48]."""
    corner, axes = eye_axes(landmarks[..., :2])
    along, across = (
        low + (high - low) * (torch.arange(count, device=pictures.device) + 0.5) / count
        for (low, high), count in zip(SPAN, PATCH[::-1], strict=True)
    )
    places = along[:, None] * axes[:, :, None, None, 0] + (across[:, None] * axes[:, :, None, 1])[:, :, :, None]
    grid = 2 * (places + corner[:, :, None, None]) - 1  # [B,E,32,48,2]
    repeated = pictures[:, None].expand(-1, 2, -1, -1, -1).flatten(0, 1)
    return F.grid_sample(repeated, grid.flatten(0, 1).to(repeated), padding_mode="border", align_corners=False)
