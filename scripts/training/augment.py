"""Augmentation of pictures in [-1,1], and of face crops together with their landmarks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.transforms import v2

from anitalker.faces.similarity_transform import Similarity


def random_similarity(count: int, roll: float = 0.2, size: float = 0.15, shift: float = 0.06) -> Similarity:
    """Uniform within +-roll radians, +-size (log), +-shift crop widths."""
    spread = torch.rand(4, count) * 2 - 1
    return Similarity(spread[0] * roll, spread[1] * size, (spread[2:] * shift).T)


def after(first: Similarity, then: Similarity) -> Similarity:
    """`first` followed by `then`."""
    shift = (then.matrix() @ first.shift[..., None]).squeeze(-1) + then.shift
    return Similarity(first.roll + then.roll, first.size + then.size, shift)


def choose(where: Tensor, yes: Similarity, no: Similarity) -> Similarity:
    """Per transform: `yes` where the mask [B] is set, else `no`."""
    shift = torch.where(where[:, None], yes.shift, no.shift)
    return Similarity(torch.where(where, yes.roll, no.roll), torch.where(where, yes.size, no.size), shift)


def mirror(pictures: Tensor, landmarks: Tensor, partner: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Flip pictures [B,C,H,W] and landmarks [B,468,3] left to right where the mask [B] says so."""
    flipped = (landmarks * landmarks.new_tensor([-1.0, 1.0, 1.0]) + landmarks.new_tensor([1.0, 0.0, 0.0]))[:, partner]
    pictures, chosen = pictures.clone(), where.to(pictures.device)
    pictures[chosen] = pictures[chosen].flip(3)
    return pictures, torch.where(where.to(landmarks.device)[:, None, None], flipped, landmarks)


def mirror_index(shape: Tensor) -> Tensor:
    """For each point of a frontal face [N,3], x from its middle, the point on the other side: a permutation [N].

    ValueError if the shape is not symmetric enough to pair its points.
    """
    distance = torch.cdist(shape, shape * torch.tensor([-1.0, 1.0, 1.0])).square()
    index = torch.from_numpy(linear_sum_assignment(distance.numpy())[1])
    if not torch.equal(index[index], torch.arange(len(index))):
        raise ValueError("the shape is not symmetric enough to pair its points; give more faces")
    return index


def apply_to_share(pictures: Tensor, share: float, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """Transform a random share of pictures [B,C,H,W], each by itself and in place."""
    for i in torch.nonzero(torch.rand(len(pictures)) < share).flatten().tolist():
        pictures[i] = transform(pictures[i])
    return pictures


def gamma(picture: Tensor, spread: float) -> Tensor:
    """A random exponent whose logarithm has this deviation, at most 0.7 (a factor of 2)."""
    exponent = (torch.randn(()) * spread).clamp(-0.7, 0.7).exp().item()
    return ((picture + 1) / 2).clamp(1e-3, 1).pow(exponent) * 2 - 1


def noise(picture: Tensor, most: float) -> Tensor:
    """Gaussian noise of a deviation up to `most`."""
    return picture + torch.randn_like(picture) * most * torch.rand(()).item()


def colour(pictures: Tensor, strength: float = 0.25) -> Tensor:
    """Brightness and tint for all, gamma for a third, grey for a tenth; [-1,1] -> [-1,1]. Changes its argument."""
    apply_to_share(pictures, 0.33, lambda picture: gamma(picture, 1.2 * strength))
    apply_to_share(pictures, 0.1, lambda picture: picture.mean(0, keepdim=True))
    gain = 1 + strength * (torch.rand(len(pictures), 3, 1, 1) - 0.5)
    shift = strength * 0.8 * (torch.rand(len(pictures), 1, 1, 1) - 0.5)
    return pictures.mul_(gain.to(pictures.device)).add_(shift.to(pictures.device)).clamp_(-1, 1)


def colour_pairs(pictures_a: Tensor, pictures_b: Tensor, strength: float) -> None:
    """`colour` with the same change for both pictures of a pair; changes its arguments."""
    changed_a, changed_b = colour(torch.cat([pictures_a, pictures_b], 3), strength).chunk(2, 3)
    pictures_a.copy_(changed_a)
    pictures_b.copy_(changed_b)


def jpeg(picture: Tensor) -> Tensor:
    """Through JPEG at quality 20 to 80."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).to(torch.uint8).cpu()
    return (v2.functional.jpeg(pixels, int(torch.randint(20, 80, ()))).float() / 127.5 - 1).to(picture.device)


def degrade(pictures: Tensor) -> Tensor:
    """A third of the pictures lose resolution, a quarter get noise, a tenth goes through JPEG; changes its argument."""
    size = pictures.shape[-1]
    resample = v2.Compose([v2.RandomResize(size // 4, 3 * size // 4), v2.Resize(size)])
    apply_to_share(pictures, 0.33, resample)
    apply_to_share(pictures, 0.25, lambda picture: noise(picture, 0.1))
    return apply_to_share(pictures, 0.1, jpeg).clamp_(-1, 1)
