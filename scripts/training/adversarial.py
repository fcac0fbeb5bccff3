"""Adversarial term of stage one: patch discriminators that see mouth and eyes at full and the crop at half resolution.

L1 and perceptual losses average over what cannot be known (teeth behind lips that are shut in the portrait) and leave
grey. A discriminator that also sees the drawn lips asks that what is between them looks like the inside of a mouth.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.faces.landmarks import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, rasterise
from scripts.training.engine import Engine, Opponent

RINGS = (OUTER_LIPS, INNER_LIPS, RIGHT_EYE, LEFT_EYE)
PATCH = 4  # patches to a side of the crop: 64 pixels of 256
LIPS, EYES = 14, (159, 386)  # landmarks in the middle of a patch
JITTER = 0.1  # patch sides that a patch is moved at random, the same in true and made pictures of a pair
R1_EVERY = 16  # steps between gradient penalties ("lazy": Karras et al. 2020, "Analyzing StyleGAN", section 3.1)
BALANCE_EVERY = 8  # steps between measurements of the adaptive weight
RAMP = 300  # steps from the discriminator's first to the term's full weight


@dataclass(frozen=True)
class View:
    """What a discriminator is shown: pictures [B,3,S,S] in [-1,1] and lips and eyes as drawn rings [B,4,S/2,S/2]."""

    pictures: Tensor
    rings: Tensor


class PatchDiscriminator(nn.Module):
    """A picture and its drawn lips and eyes -> one logit per place (Isola et al. 2017, "pix2pix", section 3.2).

    Space to depth (S/2), a first convolution with `first` as its stride, two more of stride 2. No normalisation: R1
    keeps it smooth.
    """

    def __init__(self, channels: tuple[int, ...] = (48, 96, 128), first: int = 1) -> None:
        super().__init__()
        self.entry = nn.Conv2d(12 + len(RINGS), channels[0], 2 + first, first, 1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(channels))
        self.exit = nn.Conv2d(channels[-1], 1, 3, 1, 1)
        for layer in (self.entry, *self.down, self.exit):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            nn.init.zeros_(layer.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, view: View) -> Tensor:
        """View of side S -> logits [B,1,s,s]; positive means true."""
        x = torch.cat([F.pixel_unshuffle(view.pictures, 2), view.rings], 1)
        x = F.leaky_relu(self.entry(x.contiguous(memory_format=torch.channels_last)), 0.2)
        for layer in self.down:
            x = F.leaky_relu(layer(x), 0.2)
        return self.exit(x)


class Adversarial(Opponent):
    """Both discriminators, their optimizer and the weight of the term; `state_dict` holds all three.

    Non-saturating loss (Goodfellow et al. 2014), softplus(-D(made)), with R1 on true pictures every R1_EVERY steps:
    gamma / 2 E |dD/dx|^2 (Mescheder et al. 2018, eq. 9). The term's weight is `weight` times the ratio of the gradients
    that reconstruction and term send to the decoder's last layer (Esser et al. 2021, "Taming Transformers", eq. 7).

    Arguments: weight; after, steps before the discriminators begin to learn (the term fades in over RAMP more); rate of
    their optimizer; gamma of R1.
    """

    NAME = "adversarial"

    def __init__(self, weight: float, after: int = 0, rate: float = 4e-4, gamma: float = 2.0) -> None:
        super().__init__()
        self.weight, self.after, self.gamma = weight, after, gamma
        self.patch, self.whole = PatchDiscriminator(), PatchDiscriminator((32, 64, 128), first=2)
        self.register_buffer("ratio", torch.tensor(-1.0))  # running mean of the adaptive weight; below 0: none yet
        self.measured: list[Tensor] = []
        self.optimizer = torch.optim.Adam(self.parameters(), rate, betas=(0.0, 0.99))

    def active(self, step: int) -> bool:
        return self.weight > 0 and step >= self.after

    def term(self, made: list[View], reconstruction: Tensor, last: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The generator's term, not weighted, and its weight; `last` is the parameter of the decoder's last layer.

        reconstruction is the scalar that asks for the same pictures; its graph is kept.
        """
        self.requires_grad_(False)
        with torch.autocast(last.device.type, torch.bfloat16):
            logits = self._logits(made)
        loss = sum(_mean(F.softplus(-x), v) for x, v in zip(logits, made, strict=True)) / len(made)
        self.requires_grad_(True)
        if step % BALANCE_EVERY == 0 or self.ratio < 0:
            wanted = torch.autograd.grad(reconstruction, last, retain_graph=True)[0].norm()
            given = torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
            self.measured.append((wanted / (given + 1e-6)).clamp(max=100.0))
        return loss, self.weight * min(1.0, (step - self.after) / RAMP) * self.ratio.clamp_min(0)

    def loss(self, made: list[View], true: list[View], step: int) -> tuple[Tensor, dict[str, float]]:
        """The discriminators' loss, and how often they are right about true and made mouths (0.5: at random)."""
        with torch.autocast(made[0].pictures.device.type, torch.bfloat16):
            false_logits, true_logits = self._logits(made), self._logits(true)
        loss = sum(_mean(F.softplus(x), v) for x, v in zip(false_logits, made, strict=True))
        loss = loss + sum(_mean(F.softplus(-x), v) for x, v in zip(true_logits, true, strict=True))
        told = [_each(x[0].detach(), v[0]) for x, v in ((false_logits, made), (true_logits, true))]
        right = ((told[0] < 0).float().mean() + (told[1] > 0).float().mean()) / 2
        numbers = {"d_loss": loss.item(), "d_right": right.item(), "d_ratio": self.ratio.item()}
        if step % R1_EVERY == 0:
            loss = loss + 0.5 * self.gamma * R1_EVERY * self._penalty(true)
        return loss, numbers

    def update(self, engine: Engine) -> None:
        """One step of the discriminators; the running mean of the adaptive weight moves to what was measured."""
        super().update(engine)
        if self.measured:
            ratio = engine.average(torch.stack(self.measured).mean())
            self.ratio.copy_(ratio if self.ratio < 0 else torch.lerp(self.ratio, ratio, 0.2))
            self.measured = []

    def _logits(self, views: list[View]) -> list[Tensor]:
        *patches, whole = views
        return [self.patch(v).float() for v in patches] + [self.whole(whole).float()]

    def _penalty(self, true: list[View]) -> Tensor:
        """Mean over pictures of the squared gradient of the mean logit, summed over pixels."""
        views = [View(v.pictures.detach().requires_grad_(), v.rings) for v in true]
        mean = sum(_mean(x, v) * len(v.pictures) for x, v in zip(self._logits(views), views, strict=True))
        slopes = torch.autograd.grad(mean, [v.pictures for v in views], create_graph=True)
        return sum(s.square().flatten(1).sum(1).mean() for s in slopes)


def views(pictures: Tensor, landmarks: Tensor, shift: Tensor) -> list[View]:
    """Mouth, one eye and the whole crop at half size of pictures [B,3,n,n] with landmarks [B,468,>=2].

    shift [2,B,2], -1..1: jitter of the two patches in units of JITTER; its sign in the last pair chooses the eye.
    """
    marks, size = landmarks.detach().float()[..., :2], pictures.shape[-1]
    left = (shift[1, :, :1] > 0).float()
    eye = marks[:, EYES[0]] * (1 - left) + marks[:, EYES[1]] * left
    places = zip((marks[:, LIPS], eye), shift, strict=True)
    patches = [cut(pictures, marks, place * size + JITTER * size / PATCH * s) for place, s in places]
    return [*patches, View(F.avg_pool2d(pictures, 2), rasterise(marks, RINGS, size // 4))]


def cut(pictures: Tensor, landmarks: Tensor, centre: Tensor) -> View:
    """Patches, a PATCH-th of the side n of pictures, around centre [B,2] (x, y in pixels), kept inside."""
    size = pictures.shape[-1]
    side = size // PATCH
    corners = (centre - side / 2).round().clamp(0, size - side)
    places = zip(pictures, corners.long().tolist(), strict=True)
    patches = torch.stack([p[:, y : y + side, x : x + side] for p, (x, y) in places])
    return View(patches, rasterise((landmarks * size - corners[:, None]) / side, RINGS, side // 2))


def random_shift(count: int, device: torch.device | str = "cpu") -> Tensor:
    """[2,B,2] uniform in -1..1, for `views`."""
    return torch.rand(2, count, 2, device=device) * 2 - 1


def _mean(values: Tensor, view: View) -> Tensor:
    """Mean of a map [B,1,s,s] in which drawn lips and eyes count 4, the open mouth 10, the rest 1."""
    weight = _weights(values, view)
    return (values * weight).sum() / weight.sum()


def _each(values: Tensor, view: View) -> Tensor:
    """The same, picture by picture: [B]."""
    weight = _weights(values, view)
    return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))


def _weights(values: Tensor, view: View) -> Tensor:
    rings = F.adaptive_max_pool2d(view.rings, values.shape[-2:])
    return 1 + 3 * rings.amax(1, keepdim=True) + 6 * rings[:, 1:2]
