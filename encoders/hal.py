"""Hierarchical Aggregation Layer: a feature pyramid becomes one code (AniTalker, Liu et al. 2024, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HierarchicalAggregation(nn.Module):
    """AvgPool per stage, a linear lift where the width differs, softmax over one scalar per stage, weighted sum.

    channels: widths of the pyramid's stages. code_size: width of the code. hal False: the last stage alone (ablation).

    Two coordinate channels are multiplied into the pool of each stage that has more than one place: an average forgets
    where things are, and pose is where things are. Half of the weight starts on the last stage, the rest is shared.
    In training the last stage is left out now and then, so that the shallow ones learn to carry motion as well.
    """

    def __init__(self, channels: tuple[int, ...], code_size: int, hal: bool = True, drop_last: float = 0.05) -> None:
        super().__init__()
        self.hal, self.drop_last = hal, drop_last
        # Every stage but the 1x1 one is pooled three times: plain, weighted by x, weighted by y.
        self.lift = nn.ModuleList(nn.Linear(3 * c, code_size) for c in channels[:-1])
        last = channels[-1]
        self.lift.append(nn.Identity() if last == code_size else nn.Linear(last, code_size))
        share = torch.full((len(channels),), 0.5 / max(1, len(channels) - 1))
        share[-1] = 0.5 if len(channels) > 1 else 1.0  # one stage: there is nothing to weigh
        self.logits = nn.Parameter(share.log())

    def weights(self) -> Tensor:
        """Softmax weights [stages]; (0, ..., 0, 1) without HAL."""
        if not self.hal:
            return nn.functional.one_hot(torch.tensor(len(self.logits) - 1), len(self.logits)).to(self.logits)
        return self.logits.softmax(0)

    @torch.no_grad()
    def rebalance(self, last: float) -> float:
        """Give the last stage this share of the weight and the others the rest, their part unchanged among themselves.

        Returns the factor by which the last stage itself must be scaled for the code to stay the same.
        """
        before = self.logits.softmax(0)
        after = before * (1 - last) / (1 - before[-1])
        after[-1] = last
        for lift, old, new in zip(self.lift[:-1], before, after, strict=False):
            for parameter in lift.parameters():
                parameter.mul_(old / new)
        self.logits.copy_(after.log())
        return float(before[-1] / after[-1])

    def stages(self, pyramid: list[Tensor]) -> Tensor:
        """Each stage's own code, before weighing: list of [B,C,H,W] -> [B,stages,code_size]."""
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
