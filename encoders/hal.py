"""Hierarchical Aggregation Layer: a feature pyramid becomes one code (AniTalker, Liu et al. 2024, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HierarchicalAggregation(nn.Module):
    """Average pool and linear layer per stage, then a weighted sum; the weights are a softmax over one logit per stage.

    channels: widths of the pyramid's stages. code_size: width of the code. hal False: the last stage alone (ablation).
    drop_last: probability in training that the last stage is left out, so that shallow stages learn motion as well.

    Stages of more than one pixel are pooled three times: plain, weighted by x and weighted by y. A plain average loses
    positions, and pose is position. Half of the weight starts on the last stage; the other stages share the rest.
    """

    def __init__(self, channels: tuple[int, ...], code_size: int, hal: bool = True, drop_last: float = 0.05) -> None:
        super().__init__()
        self.hal, self.drop_last = hal, drop_last
        # Three pools of each stage, but one of the last, which is 1x1.
        self.lift = nn.ModuleList(nn.Linear(3 * c, code_size) for c in channels[:-1])
        last = channels[-1]
        self.lift.append(nn.Identity() if last == code_size else nn.Linear(last, code_size))
        share = torch.full((len(channels),), 0.5 / max(1, len(channels) - 1))
        share[-1] = 0.5 if len(channels) > 1 else 1.0  # a single stage has all of the weight
        self.logits = nn.Parameter(share.log())

    def weights(self) -> Tensor:
        """Softmax weights [stages]; (0, ..., 0, 1) without HAL."""
        if not self.hal:
            return nn.functional.one_hot(torch.tensor(len(self.logits) - 1), len(self.logits)).to(self.logits)
        return self.logits.softmax(0)

    def stages(self, pyramid: list[Tensor]) -> Tensor:
        """The code of each stage, before weighting: list of [B,C,H,W] -> [B,stages,code_size]."""
        return torch.stack([lift(_pool(stage)) for lift, stage in zip(self.lift, pyramid, strict=True)], 1)

    def forward(self, pyramid: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Pyramid, list of [B,C,H,W] with the last at 1x1 -> code [B,code_size] and the weights [stages] used."""
        weights = self.weights()
        if self.training and self.hal and len(weights) > 1 and torch.rand(()) < self.drop_last:
            keep = torch.ones_like(weights)
            keep[-1] = 0
            weights = weights * keep / (weights * keep).sum()
        return (self.stages(pyramid) * weights[:, None].to(pyramid[0].dtype)).sum(1), weights


def _pool(stage: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,3C]: mean, and mean times the x and the y coordinate in [-1,1]; [B,C] at 1x1."""
    if stage.shape[-1] == 1:
        return stage.flatten(1)
    axis = torch.linspace(-1, 1, stage.shape[-1], device=stage.device, dtype=stage.dtype) * 3**0.5
    columns, rows = stage.mean(2), stage.mean(3)  # [B,C,W], [B,C,H]
    return torch.cat([columns.mean(2), (columns * axis).mean(2), (rows * axis).mean(2)], 1)
