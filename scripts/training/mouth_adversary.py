"""The discriminator of mouth patches: two scales, told which lips it shall see.

Hinge loss (Lim and Ye 2017), feature matching (Wang et al. 2018, "pix2pixHD", section 3.2), and R1 on real patches now
and then (Mescheder et al. 2018, eq. 9; lazily as in Karras et al. 2020).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.training.engine import AdversarialNetwork

LEARN_EVERY = 2  # steps between those of the discriminator
R1_EVERY, R1_SHARE = 16, 4  # steps between gradient penalties; of the batch, one in so many


class PatchScale(nn.Module):
    """Patches and their lip contours, 5 channels -> feature maps, the last of which is one logit per place."""

    def __init__(self, block: int, channels: tuple[int, ...] = (48, 64, 96)) -> None:
        super().__init__()
        self.block = block  # pixels along a side of a place
        self.entry = nn.Conv2d(5 * block**2, channels[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(channels))
        self.exit = nn.Conv2d(channels[-1], 1, 3, padding=1)
        for layer in (self.entry, *self.down, self.exit):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            nn.init.zeros_(layer.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, patches: Tensor, contours: Tensor) -> list[Tensor]:
        """[B,3,S,S] in [-1,1] and [B,2,S,S] in 0..1 -> feature maps, then logits [B,1,s,s]."""
        x = F.pixel_unshuffle(torch.cat([patches, 2 * contours - 1], 1), self.block)
        x = x.contiguous(memory_format=torch.channels_last)
        maps = [F.leaky_relu(self.entry(x), 0.2)]
        for layer in self.down:
            maps.append(F.leaky_relu(layer(maps[-1]), 0.2))
        return [*maps, self.exit(maps[-1])]


class MouthDiscriminator(AdversarialNetwork):
    """Both scales and their optimizer; `after`: steps before they learn."""

    NAME = "adversarial"

    def __init__(self, after: int, lr: float = 8e-4, gamma: float = 0.2) -> None:
        super().__init__()
        self.after, self.gamma = after, gamma
        self.near, self.far = PatchScale(4), PatchScale(2, (32, 64, 96))
        self.optimizer = torch.optim.Adam(self.parameters(), lr, betas=(0.0, 0.99))

    def active(self, step: int) -> bool:
        """Whether there are discriminators at this step."""
        return step >= self.after

    def maps(self, patches: Tensor, contours: Tensor) -> list[list[Tensor]]:
        """Feature maps and logits of patches [B,3,P,P] and of the same at half size."""
        half = (F.avg_pool2d(x, 2) for x in (patches, contours))
        return [self.near(patches, contours), self.far(*half)]

    def terms(self, fake: Tensor, real: Tensor, contours: Tensor) -> tuple[Tensor, Tensor]:
        """What the generator minimises: the hinge term, and L1 of the feature maps to those of the true patches."""
        self.requires_grad_(False)
        with torch.autocast(fake.device.type, torch.bfloat16):
            fakes = self.maps(fake, contours)
            with torch.no_grad():
                reals = self.maps(real, contours)
        self.requires_grad_(True)
        hinge = -sum(_weighted(maps[-1], contours) for maps in fakes) / 2
        matching = [
            (a.float() - b.float()).abs().mean()
            for x, y in zip(fakes, reals, strict=True)
            for a, b in zip(x[:-1], y[:-1], strict=True)
        ]
        return hinge, sum(matching) / len(matching)

    def loss(self, fake: Tensor, real: Tensor, contours: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        """The discriminators' loss, and how often they are right (0.5: at random)."""
        with torch.autocast(fake.device.type, torch.bfloat16):
            maps = self.maps(torch.cat([fake, real]), contours.repeat(2, 1, 1, 1))
        loss, right = fake.new_zeros(()), []
        for *_, logits in maps:
            fakes, reals = logits.float().chunk(2)
            loss = loss + _weighted(F.relu(1 + fakes), contours) + _weighted(F.relu(1 - reals), contours)
            right += [(fakes < 0).float().mean(), (reals > 0).float().mean()]
        numbers = {"d_loss": loss.item(), "d_right": torch.stack(right).mean().item()}
        if step % R1_EVERY == 0:
            few = slice(0, max(1, len(real) // R1_SHARE))
            loss = loss + 0.5 * self.gamma * R1_EVERY * self._penalty(real[few], contours[few])
        return loss, numbers

    def _penalty(self, real: Tensor, contours: Tensor) -> Tensor:
        """Mean over patches of the squared gradient of the mean logits, summed over pixels."""
        real = real.detach().requires_grad_()
        logits = sum(maps[-1].mean((1, 2, 3)).sum() for maps in self.maps(real, contours))
        return torch.autograd.grad(logits, real, create_graph=True)[0].square().flatten(1).sum(1).mean()


def _weighted(values: Tensor, contours: Tensor) -> Tensor:
    """Mean of a map [B,1,s,s] in which the lips count 4 and the open mouth 8, the rest 1."""
    lips, mouth = F.adaptive_max_pool2d(contours, values.shape[-2:]).split(1, 1)
    weight = 1 + 3 * lips + 4 * mouth
    return (values.float() * weight).sum() / weight.sum()
