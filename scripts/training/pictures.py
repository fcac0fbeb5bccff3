"""What both stages that make pictures ask of them: L1, features, a discriminator; with weights for mouth and eyes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.decoder.flow import resize
from anitalker.faces.landmarks import FACE_OVAL, INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, rasterise
from encoders.image import to_tensor
from scripts.training.data import FrameCache
from scripts.training.engine import AdversarialNetwork, Engine
from scripts.training.losses import PerceptualLoss, feature_network, photometric
from scripts.training.pairs import Pairs
from scripts.training.presets import Pictures

PERCEPTUAL_POINTS = (14, 14, 14, 14, 159, 386)  # middles of perceptual patches: the mouth, every third time an eye
FACE_POINTS = (159, 386, 159, 386, 152, 10)  # the same where somebody else draws the mouth: eyes, chin, forehead
RINGS = (OUTER_LIPS, INNER_LIPS, RIGHT_EYE, LEFT_EYE)
PATCH = 4  # patches to a side of the crop: 64 pixels of 256
LIPS, EYES = 14, (159, 386)  # landmarks in the middle of a patch
JITTER = 0.1  # patch sides that a patch is moved at random, the same in real and predicted pictures of a pair
R1_EVERY = 16  # steps between gradient penalties ("lazy": Karras et al. 2020, "Analyzing StyleGAN", section 3.1)
BALANCE_EVERY = 8  # steps between measurements of the adaptive weight
RAMP = 300  # steps from the discriminator's first to the term's full weight


@dataclass(frozen=True)
class View:
    """What a discriminator is shown: pictures [B,3,S,S] in [-1,1] and lips and eyes as drawn rings [B,4,S/2,S/2]."""

    pictures: Tensor
    rings: Tensor

    def detach(self) -> View:
        """The same view without a graph."""
        return View(self.pictures.detach(), self.rings)


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


class Discriminator(AdversarialNetwork):
    """Both patch discriminators, their optimizer and the weight of the term; `state_dict` holds all three.

    Non-saturating loss (Goodfellow et al. 2014), softplus(-D(fake)), with R1 on real pictures every R1_EVERY steps:
    gamma / 2 E |dD/dx|^2 (Mescheder et al. 2018, eq. 9). The term's weight is `weight` times the ratio of the gradients
    that reconstruction and term send to the decoder's last layer (Esser et al. 2021, "Taming Transformers", eq. 7).

    Arguments: weight; after, steps before the discriminators begin to learn (the term fades in over RAMP more); lr of
    their optimizer; gamma of R1.
    """

    NAME = "adversarial"

    def __init__(self, weight: float, after: int = 0, lr: float = 4e-4, gamma: float = 2.0) -> None:
        super().__init__()
        self.weight, self.after, self.gamma = weight, after, gamma
        self.patch, self.whole = PatchDiscriminator(), PatchDiscriminator((32, 64, 128), first=2)
        self.register_buffer("ratio", torch.tensor(-1.0))  # running mean of the adaptive weight; below 0: none yet
        self.measured: list[Tensor] = []
        self.optimizer = torch.optim.Adam(self.parameters(), lr, betas=(0.0, 0.99))

    def active(self, step: int) -> bool:
        """Whether the discriminators learn at this step."""
        return self.weight > 0 and step >= self.after

    def term(self, fake: list[View], reconstruction: Tensor, last: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The generator's term, not weighted, and its weight; `last` is the parameter of the decoder's last layer.

        reconstruction is the scalar that asks for the same pictures; its graph is kept.
        """
        self.requires_grad_(False)
        with torch.autocast(last.device.type, torch.bfloat16):
            logits = self._logits(fake)
        loss = sum(_mean(F.softplus(-x), v).mean() for x, v in zip(logits, fake, strict=True)) / len(fake)
        self.requires_grad_(True)
        if step % BALANCE_EVERY == 0 or self.ratio < 0:
            slopes = [torch.autograd.grad(x, last, retain_graph=True)[0].norm() for x in (reconstruction, loss)]
            self.measured.append((slopes[0] / (slopes[1] + 1e-6)).clamp(max=100.0))
        return loss, self.weight * min(1.0, (step - self.after) / RAMP) * self.ratio.clamp_min(0)

    def loss(self, fake: list[View], real: list[View], step: int) -> tuple[Tensor, dict[str, float]]:
        """The discriminators' loss, and how often they are right about real and fake mouths (0.5: at random)."""
        with torch.autocast(fake[0].pictures.device.type, torch.bfloat16):
            fake_logits, real_logits = self._logits(fake), self._logits(real)
        loss = sum(_mean(F.softplus(x), v).mean() for x, v in zip(fake_logits, fake, strict=True))
        loss = loss + sum(_mean(F.softplus(-x), v).mean() for x, v in zip(real_logits, real, strict=True))
        fake_mouths, real_mouths = _mean(fake_logits[0].detach(), fake[0]), _mean(real_logits[0].detach(), real[0])
        right = ((fake_mouths < 0).float().mean() + (real_mouths > 0).float().mean()) / 2
        numbers = {"d_loss": loss.item(), "d_right": right.item(), "d_ratio": self.ratio.item()}
        if step % R1_EVERY == 0:
            loss = loss + 0.5 * self.gamma * R1_EVERY * self._penalty(real)
        return loss, numbers

    def update(self, engine: Engine) -> None:
        """One step of the discriminators; the running mean of the adaptive weight moves to what was measured."""
        super().update(engine)
        if self.measured:
            ratio = engine.average(torch.stack(self.measured).mean())
            self.ratio.copy_(ratio if self.ratio < 0 else torch.lerp(self.ratio, ratio, 0.2))
            self.measured = []

    def _logits(self, views: list[View]) -> list[Tensor]:
        *near, whole = views
        return [self.patch(view).float() for view in near] + [self.whole(whole).float()]

    def _penalty(self, real: list[View]) -> Tensor:
        """Mean over pictures of the squared gradient of the mean logit, summed over pixels."""
        views = [View(v.pictures.detach().requires_grad_(), v.rings) for v in real]
        logits = sum(_mean(x, v).sum() for x, v in zip(self._logits(views), views, strict=True))
        slopes = torch.autograd.grad(logits, [view.pictures for view in views], create_graph=True)
        return sum(slope.square().flatten(1).sum(1).mean() for slope in slopes)


def views(pictures: Tensor, landmarks: Tensor, shift: Tensor) -> list[View]:
    """Mouth, one eye and the whole crop at half size of pictures [B,3,n,n] with landmarks [B,468,>=2].

    shift [2,B,2], -1..1: jitter of the two patches in units of JITTER; its sign in the last pair chooses the eye.
    """
    points, size = landmarks.detach().float()[..., :2], pictures.shape[-1]
    left = (shift[1, :, :1] > 0).float()
    eye = points[:, EYES[0]] * (1 - left) + points[:, EYES[1]] * left
    side, near = size // PATCH, []
    for place, jitter in zip((points[:, LIPS], eye), shift, strict=True):
        cropped, corners = patches(pictures, place * size + JITTER * side * jitter, side)
        near.append(View(cropped, rasterise((points * size - corners[:, None]) / side, RINGS, side // 2)))
    return [*near, View(F.avg_pool2d(pictures, 2), rasterise(points, RINGS, size // 4))]


def patches(pictures: Tensor, centre: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Patches [B,3,side,side] of pictures around centre [B,2] (pixels), kept inside, and their corners [B,2]."""
    corners = (centre - side / 2).round().clamp(0, pictures.shape[-1] - side)
    places = zip(pictures, corners.long().tolist(), strict=True)
    return torch.stack([p[:, y : y + side, x : x + side] for p, (x, y) in places]), corners


def random_shift(count: int, device: torch.device | str = "cpu") -> Tensor:
    """[2,B,2] uniform in -1..1, for `views`."""
    return torch.rand(2, count, 2, device=device) * 2 - 1


def _mean(values: Tensor, view: View) -> Tensor:
    """Means [B] of a map [B,1,s,s] in which drawn lips and eyes count 4, the open mouth 10, the rest 1."""
    rings = F.adaptive_max_pool2d(view.rings, values.shape[-2:])
    weight = 1 + 3 * rings.amax(1, keepdim=True) + 6 * rings[:, 1:2]
    return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))


class PictureTerms(nn.Module):
    """Photometric, perceptual and adversarial terms of one recipe.

    perceptual_network: `vgg19`, `none` or a file (see losses.feature_network). Adversaries stand in a dict: their
    parameters stay outside of what the main optimizer and DistributedDataParallel see. points: landmarks in the middles
    of perceptual patches.
    """

    def __init__(self, recipe: Pictures, perceptual_network: str, points: tuple[int, ...] = PERCEPTUAL_POINTS) -> None:
        super().__init__()
        self.recipe, self.points = recipe, points
        network = feature_network(perceptual_network) if recipe.perceptual else None
        self.perceptual = None if network is None else PerceptualLoss(network)
        discriminator = Discriminator(recipe.adversarial, recipe.adversarial_after) if recipe.adversarial else None
        self.adversaries = {Discriminator.NAME: discriminator} if discriminator else {}

    def forward(
        self, frames: Tensor, pairs: Pairs, target: Tensor, last: Tensor, step: int
    ) -> tuple[dict[str, Tensor], Tensor, dict[str, tuple]]:
        """Terms by name, their weighted sum, and what the discriminators are to learn from.

        frames [B,3,n,n] in [-1,1] shall be pairs.picture_b; target [B,468,3] the landmarks that they were asked to
        show; last the parameter of the last layer that made them.
        """
        recipe = self.recipe
        weight, _ = importance(pairs.landmarks_b, frames.shape[-1])
        losses = {"l1": photometric(frames, pairs.picture_b, weight, recipe.scales)}
        total = recipe.photometric * losses["l1"]
        if self.perceptual is not None:
            losses["perceptual"] = self._perceptual(frames, pairs)
            total = total + recipe.perceptual * losses["perceptual"]
        outputs = {}
        for name, discriminator in self.adversaries.items():
            if discriminator.active(step):
                shift = random_shift(len(frames), frames.device)
                fake = views(frames, target, shift)
                losses["adversarial"], weight = discriminator.term(fake, total, last, step)
                total = total + weight * losses["adversarial"]
                outputs[name] = ([view.detach() for view in fake], views(pairs.picture_b, pairs.landmarks_b, shift))
        return losses, total, outputs

    def _perceptual(self, frames: Tensor, pairs: Pairs) -> Tensor:
        """Whole pictures at 128 pixels at most, and a patch of a quarter of the side at double size."""
        size = frames.shape[-1]
        with torch.autocast(frames.device.type, torch.bfloat16):
            halve = size > 128
            whole = [F.avg_pool2d(x, 2) if halve else x for x in (frames, pairs.picture_b)]
            point = self.points[int(torch.randint(len(self.points), ()))]
            side = size // PATCH
            centre = pairs.landmarks_b[:, point, :2] * size
            near = [resize(patches(x, centre, side)[0], (2 * side, 2 * side)) for x in (frames, pairs.picture_b)]
            return self.perceptual(*whole).mean() + self.perceptual(*near).mean()


def importance(landmarks: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pixel weights [B,1,n,n] and where lips and eyes are, 0..1.

    Background 1, face 2, around lips and eyes 6, inside the open mouth 16.
    """
    rings = rasterise(landmarks, (FACE_OVAL, OUTER_LIPS, RIGHT_EYE, LEFT_EYE), 64)
    features = _sized(F.max_pool2d(rings[:, 1:].amax(1, keepdim=True), 5, 1, 2), size)
    mouth = _sized(rasterise(landmarks, (INNER_LIPS,), max(64, size // 2)), size)
    return 1 + _sized(rings[:, :1], size) + 4 * features + 10 * mouth, features


def lips_mask(landmarks: Tensor, size: int) -> Tensor:
    """Where lips and mouth are, and a little around them, with soft edges: [B,468,>=2] -> [B,1,n,n] in 0..1."""
    lips = rasterise(landmarks, (OUTER_LIPS,), 64)
    return _sized(F.avg_pool2d(F.max_pool2d(lips, 7, 1, 3), 3, 1, 1), size)


@torch.no_grad()
def score_frames(
    val: FrameCache,
    device: torch.device,
    predict: Callable[[np.ndarray, Tensor, Tensor], dict[str, Tensor]],
    per_clip: int = 12,
) -> dict[str, list[float]]:
    """PSNR per clip of first frame -> later frames, whole picture and inside the face oval, for all that is predicted.

    predict(numbers, pictures [n,3,s,s], landmarks [n,468,3]) draws the frames from the first picture: name -> [n,3,s,s]
    in [-1,1]. `copy` joins them. -> NAME_whole and NAME_face, one number per clip, dB.
    """
    rows: dict[str, list[float]] = {}
    for clip in range(len(val.rows)):
        numbers = val.frames_of(clip)
        numbers = numbers[np.r_[0, 1 : len(numbers) : max(1, len(numbers) // per_clip)]]
        pictures = to_tensor(val.pictures(numbers, device))
        landmarks = torch.tensor(val.landmarks[numbers], device=device)
        face = rasterise(landmarks, (FACE_OVAL,), pictures.shape[-1])[1:]
        predicted = {"copy": pictures[:1].expand_as(pictures), **predict(numbers, pictures, landmarks)}
        for name, frames in predicted.items():
            error = (frames.clamp(-1, 1)[1:] - pictures[1:]).square().mean(1, keepdim=True) / 4
            rows.setdefault(f"{name}_whole", []).append(float(-10 * error.mean().log10()))
            rows.setdefault(f"{name}_face", []).append(float(-10 * ((error * face).sum() / face.sum()).log10()))
    return rows


def _sized(field: Tensor, size: int) -> Tensor:
    """[B,C,h,h] -> [B,C,size,size]: interpolated up, averaged down."""
    return resize(field, (size, size)) if size >= field.shape[-1] else F.adaptive_avg_pool2d(field, size)
