"""What a matte is learned by: distance of alpha, at several scales, most of all along the outline; and its scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.matte.network import MatteNetwork
from scripts.training.matte_data import MatteBatch
from scripts.training.recipe import Recipe, setting

OUTLINE_PIXELS = 7  # side of the neighbourhood in which alpha changes, where a pixel counts `outline` more
SCALES = 4  # of the Laplacian pyramid


@dataclass(frozen=True, kw_only=True)
class MatteRecipe(Recipe):
    """Settings of the training of mattes."""

    outline: float = setting(3.0, "how much more pixels along the outline count")
    pyramid: float = setting(1.0, "weight of the differences of alpha's Laplacian pyramid")
    encoder_lr: float = setting(0.2, "learning rate of the encoder, of the decoder's; 0: it stays as it is")


class MatteObjective(nn.Module):
    """Cross-entropy and L1 of alpha, and L1 of its Laplacian pyramid (Hou and Liu 2019, section 3.3)."""

    def __init__(self, network: MatteNetwork, recipe: MatteRecipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(self, batch: MatteBatch, step: int) -> tuple[dict[str, Tensor], dict]:
        """Losses with their total; of a batch, its logits."""
        with torch.autocast(batch.pictures.device.type, torch.bfloat16):
            logits = self.network(batch.pictures)
        logits = logits.float()
        weight = 1 + self.recipe.outline * outline(batch.alpha)
        entropy = (weight * F.binary_cross_entropy_with_logits(logits, batch.alpha, reduction="none")).mean()
        alpha = torch.sigmoid(logits)
        distance = (weight * (alpha - batch.alpha).abs()).mean()
        pyramid = pyramid_distance(alpha, batch.alpha)
        total = entropy + distance + self.recipe.pyramid * pyramid
        return {"entropy": entropy, "l1": distance, "pyramid": pyramid, "total": total}, {}


def outline(alpha: Tensor) -> Tensor:
    """Where alpha [B,1,H,W] changes nearby: 0..1 of the same shape."""
    pad = OUTLINE_PIXELS // 2
    high, low = (F.max_pool2d(x, OUTLINE_PIXELS, 1, pad) for x in (alpha, -alpha))
    return high + low


def pyramid_distance(alpha: Tensor, target: Tensor) -> Tensor:
    """Mean L1 distance of the levels of both Laplacian pyramids."""
    total = alpha.new_zeros(())
    difference = alpha - target  # the pyramid is linear
    for _ in range(SCALES):
        coarse = F.avg_pool2d(difference, 2)
        fine = difference - F.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        total, difference = total + fine.abs().mean(), coarse
    return total + difference.abs().mean()


@torch.no_grad()
def score_mattes(network: MatteNetwork, batches: list[MatteBatch]) -> dict[str, float]:
    """Means over pictures: `iou` of the parts with alpha of a half and more, `mae` of alpha."""
    ious, errors = [], []
    for batch in batches:
        with torch.autocast(batch.pictures.device.type, torch.bfloat16):
            alpha = torch.sigmoid(network(batch.pictures).float())
        ious.append(intersection_over_union(alpha, batch.alpha))
        errors.append((alpha - batch.alpha).abs().mean((1, 2, 3)))
    return {"iou": float(torch.cat(ious).mean()), "mae": float(torch.cat(errors).mean())}


def intersection_over_union(alpha: Tensor, target: Tensor) -> Tensor:
    """Of the parts of [B,1,H,W] with alpha of a half and more: [B]; 1 where both are empty."""
    ours, theirs = alpha >= 0.5, target >= 0.5
    both, either = ((ours & theirs).sum((1, 2, 3)), (ours | theirs).sum((1, 2, 3)))
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both, dtype=torch.float32))
