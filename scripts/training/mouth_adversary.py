"""The discriminator of mouth patches: heads over the perceptual network's feature maps, told which lips they shall see.

Features of a trained, frozen classifier tell drawn patches from true ones after a few hundred steps (Sauer et al. 2021,
"Projected GANs", section 3); hinge loss (Lim and Ye 2017). Every place of three strides is judged on its own, as in a
patch discriminator (Isola et al. 2017, section 3.2.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.training.engine import AdversarialNetwork

LEVELS = 3  # feature maps that are judged, the finest first
WIDTHS = (32, 64, 96)  # channels of their heads


class MouthDiscriminator(AdversarialNetwork):
    """A head per feature map and their optimizer; `channels`: of the feature maps; `after`: steps before they learn."""

    NAME = "adversarial"

    def __init__(self, channels: Sequence[int], after: int, lr: float = 1e-3) -> None:
        super().__init__()
        self.after = after
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs + 2, width, 4, 2, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, width, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, 1, 3, padding=1),
            )
            for inputs, width in zip(channels[:LEVELS], WIDTHS, strict=True)
        )
        self.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.parameters(), lr, betas=(0.0, 0.99))

    def active(self, step: int) -> bool:
        """Whether there is a discriminator at this step."""
        return step >= self.after

    def logits(self, features: Sequence[Tensor], contours: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Feature maps [B,C,s,s] and lip contours [B,2,P,P] in 0..1 -> per level the logits [B,1,s/2,s/2] and what each
        weighs: the lips 4, the open mouth 8, the rest 1."""
        levels = []
        for head, maps in zip(self.heads, features, strict=False):
            scale = maps.float().square().mean((1, 2, 3), keepdim=True).rsqrt()
            lips = F.adaptive_max_pool2d(contours, maps.shape[-2:])
            x = torch.cat([maps * scale, 2 * lips - 1], 1).contiguous(memory_format=torch.channels_last)
            logits = head(x).float()
            outer, inner = F.adaptive_max_pool2d(contours, logits.shape[-2:]).split(1, 1)
            levels.append((logits, 1 + 3 * outer + 4 * inner))
        return levels

    def term(self, fake: Sequence[Tensor], contours: Tensor) -> Tensor:
        """The hinge term that the generator minimises, from the feature maps of what it drew."""
        self.requires_grad_(False)
        with torch.autocast(contours.device.type, torch.bfloat16):
            levels = self.logits(fake, contours)
        self.requires_grad_(True)
        return -sum((logits * weight).sum() / weight.sum() for logits, weight in levels) / LEVELS

    def loss(
        self, fake: Sequence[Tensor], real: Sequence[Tensor], contours: Tensor, step: int
    ) -> tuple[Tensor, dict[str, float]]:
        """The heads' loss (2 where they know nothing), and how often they rank a true patch above its drawn one."""
        with torch.autocast(contours.device.type, torch.bfloat16):
            pairs = [self.logits(features, contours) for features in (fake, real)]
        loss, margins = contours.new_zeros(()), contours.new_zeros(len(contours))
        for (fakes, weight), (reals, _) in zip(*pairs, strict=True):
            loss = loss + ((F.relu(1 + fakes) + F.relu(1 - reals)) * weight).sum() / weight.sum() / LEVELS
            margins = margins + ((reals - fakes) * weight).detach().sum((1, 2, 3))
        return loss, {"d_loss": loss.item(), "d_right": (margins > 0).float().mean().item()}
