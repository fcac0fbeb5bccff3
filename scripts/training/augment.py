"""Batched augmentation of face crops together with their landmarks: place, size, roll, mirror, colour, blur, noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.faces.similarity_transform import Similarity


def random_similarity(count: int, roll: float = 0.2, size: float = 0.15, shift: float = 0.06) -> Similarity:
    """Uniform within +-roll radians, +-size (log), +-shift crop widths."""
    spread = torch.rand(4, count) * 2 - 1
    return Similarity(spread[0] * roll, spread[1] * size, (spread[2:] * shift).T)


def after(first: Similarity, then: Similarity) -> Similarity:
    """`first` followed by `then`."""
    moved = (then.matrix() @ first.shift[..., None]).squeeze(-1) + then.shift
    return Similarity(first.roll + then.roll, first.size + then.size, moved)


def choose(where: Tensor, yes: Similarity, no: Similarity) -> Similarity:
    """Per transform: `yes` where the mask [B] is set, else `no`."""
    shift = torch.where(where[:, None], yes.shift, no.shift)
    return Similarity(torch.where(where, yes.roll, no.roll), torch.where(where, yes.size, no.size), shift)


def mirror(pictures: Tensor, landmarks: Tensor, partner: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Flip pictures [B,C,H,W] and landmarks [B,468,3] left to right where the mask [B] says so."""
    flipped = (landmarks * torch.tensor([-1.0, 1.0, 1.0]) + torch.tensor([1.0, 0.0, 0.0]))[:, partner]
    pictures = torch.where(where.to(pictures.device)[:, None, None, None], pictures.flip(3), pictures)
    return pictures, torch.where(where[:, None, None], flipped, landmarks)


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
    return pictures.mul_(gain.to(pictures.device)).add_(shift.to(pictures.device)).clamp_(-1, 1)


def colour_pairs(pictures_a: Tensor, pictures_b: Tensor, strength: float) -> None:
    """`colour` with the same change for both pictures of a pair; changes its arguments."""
    both = torch.cat([pictures_a, pictures_b], 3)
    colour(both, strength)
    pictures_a.copy_(both[..., : both.shape[-1] // 2])
    pictures_b.copy_(both[..., both.shape[-1] // 2 :])


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
