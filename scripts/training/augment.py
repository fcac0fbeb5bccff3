"""Batched augmentation of face crops together with their landmarks: place, size, roll, mirror, colour, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Affine:
    """Similarity transforms [B]: roll in radians, log size, shift [B,2] in crop widths, mirror (bool)."""

    roll: Tensor
    size: Tensor
    shift: Tensor
    mirror: Tensor

    @staticmethod
    def random(count: int, roll: float = 0.2, size: float = 0.15, shift: float = 0.06, mirror: float = 0.5) -> Affine:
        """Uniform within +-roll, +-size, +-shift; mirrored with probability `mirror`."""
        spread = torch.rand(4, count) * 2 - 1
        flips = torch.rand(count) < mirror
        return Affine(spread[0] * roll, spread[1] * size, (spread[2:] * shift).T, flips)

    def _matrix(self) -> Tensor:
        """[B,2,2] that takes centred source points to centred target points."""
        cos, sin, size = self.roll.cos(), self.roll.sin(), self.size.exp()
        sign = 1 - 2 * self.mirror.float()
        return torch.stack([cos * sign, -sin, sin * sign, cos], -1).view(-1, 2, 2) * size[:, None, None]

    def landmarks(self, landmarks: Tensor, mirrored: Tensor) -> Tensor:
        """[B,468,3] in crop widths -> transformed; `mirrored` is the index of each point's partner."""
        moved = (landmarks[..., :2] - 0.5) @ self._matrix().transpose(1, 2) + 0.5 + self.shift[:, None]
        moved = torch.cat([moved, landmarks[..., 2:] * self.size.exp()[:, None, None]], -1)
        return torch.where(self.mirror[:, None, None], moved[:, mirrored], moved)

    def pictures(self, pictures: Tensor) -> Tensor:
        """float [B,C,H,W] -> transformed with reflected borders."""
        inverse = torch.linalg.inv(self._matrix())
        offset = -(inverse @ (2 * self.shift)[..., None])
        grid = F.affine_grid(torch.cat([inverse, offset], -1), list(pictures.shape), align_corners=False)
        return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def mirror_index(canonical: Tensor) -> Tensor:
    """For each point of the canonical face [468,3], the index of its partner on the other side (a permutation)."""
    flipped = canonical * torch.tensor([-1.0, 1.0, 1.0])
    distance = torch.cdist(flipped, canonical)
    index = torch.full((len(canonical),), -1)
    # Greedy by distance, so that the result is a permutation even where two points lie close together.
    order = distance.flatten().argsort()
    taken = torch.zeros(len(canonical), dtype=torch.bool)
    for a, b in zip((order // len(canonical)).tolist(), (order % len(canonical)).tolist(), strict=True):
        if index[a] < 0 and not taken[b]:
            index[a], taken[b] = b, True
    return index


def colour(pictures: Tensor, strength: float = 0.25) -> Tensor:
    """Brightness and tint for all, gamma for a third, grey for a tenth; [-1,1] -> [-1,1]. Changes its argument."""
    count = len(pictures)
    for i in _some(count, 0.33):
        gamma = float((torch.randn(()) * 1.2 * strength).clamp(-0.7, 0.7).exp())
        pictures[i] = ((pictures[i] + 1) / 2).clamp(1e-3, 1).pow_(gamma).mul_(2).sub_(1)
    for i in _some(count, 0.1):
        pictures[i] = pictures[i].mean(0, keepdim=True)
    gain = 1 + strength * (torch.rand(count, 3, 1, 1) - 0.5)
    shift = strength * 0.8 * (torch.rand(count, 1, 1, 1) - 0.5)
    return pictures.mul_(gain).add_(shift).clamp_(-1, 1)


def degrade(pictures: Tensor) -> Tensor:
    """A third of the pictures lose resolution, a quarter get noise; [-1,1] -> [-1,1]. Changes its argument."""
    for i in _some(len(pictures), 0.33):
        small = int(torch.randint(64, 200, ()))
        low = F.interpolate(pictures[i : i + 1], size=small, mode="bilinear", antialias=True, align_corners=False)
        pictures[i] = F.interpolate(low, size=pictures.shape[-1], mode="bilinear", align_corners=False)[0]
    for i in _some(len(pictures), 0.25):
        pictures[i] += torch.randn_like(pictures[i]) * float(0.07 * torch.rand(()))
    return pictures


def _some(count: int, share: float) -> list[int]:
    return torch.nonzero(torch.rand(count) < share).flatten().tolist()
