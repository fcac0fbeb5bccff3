"""What the mouth synthesiser learns: the true patch, by pixels, features, a discriminator, and change over time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.decoder.flow import resize
from anitalker.decoder.mouth import MouthSynthesizer, lay_over
from anitalker.decoder.mouth_patch import PATCH, lip_contours, place_patch
from scripts.training.augment import apply_to_share, colour, jpeg
from scripts.training.losses import PerceptualLoss, feature_network
from scripts.training.mouth_adversary import LEARN_EVERY, MouthDiscriminator
from scripts.training.mouth_data import MouthBatch
from scripts.training.recipe import Recipe, setting

SEEN = 96  # pixels to which the patch less its border is brought for the perceptual network
MARGIN = PATCH // 16
AROUND = 9  # pixels of a window: alpha is free as far from the lips


@dataclass(frozen=True, kw_only=True)
class MouthRecipe(Recipe):
    """Weights of the terms and shares of the data."""

    stills: float = setting(0.3, "share of single-reference examples that are animated stills")
    l1: float = setting(2.0, "weight of the L1, lips and mouth count more")
    colour: float = setting(0.5, "weight of the L1 of the colour alone, inside the lips")
    perceptual: float = setting(1.0, "weight of the feature distance")
    adversarial: float = setting(0.15, "weight of the hinge term")
    matching: float = setting(1.0, "weight of the feature matching")
    adversarial_after: int = setting(4000, "steps before both set in")
    area: float = setting(0.03, "weight: alpha where no lips are, so that the warped skin stays")
    temporal: float = setting(1.0, "weight: the change to the neighbouring frame")
    jitter: float = setting(0.35, "strength of colour changes")


class MouthObjective(nn.Module):
    """The synthesiser and its losses as one module; the discriminator stays outside of its parameters."""

    def __init__(self, network: MouthSynthesizer, recipe: MouthRecipe, perceptual_network: str) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        features = feature_network(perceptual_network) if recipe.perceptual else None
        self.perceptual = None if features is None else PerceptualLoss(features)
        discriminator = MouthDiscriminator(recipe.adversarial_after) if recipe.adversarial else None
        self.adversaries = {MouthDiscriminator.NAME: discriminator} if discriminator else {}

    def forward(self, batch: MouthBatch, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`, and what the discriminator learns from."""
        recipe, target = self.recipe, batch.target
        with torch.autocast(target.device.type, torch.bfloat16):
            references = self.network.encode(batch.patches, batch.patch_landmarks, batch.patch_motion)
            output = self.network(batch.warped, batch.landmarks, batch.motion, references)
        output = output.float()
        patches = lay_over(batch.warped, output)
        contours = lip_contours(batch.landmarks, place_patch(batch.landmarks))
        weight = 1 + 3 * contours[:, :1] + 2 * contours[:, 1:]
        losses = {
            "l1": (weight * (patches - target).abs()).mean(),
            "colour": (contours[:, :1] * (output[:, :3] - target).abs()).mean(),
            "area": (output[:, 3:] * beside_lips(contours)).mean(),
        }
        total = recipe.l1 * losses["l1"] + recipe.colour * losses["colour"] + recipe.area * losses["area"]
        if self.perceptual is not None:
            with torch.autocast(target.device.type, torch.bfloat16):
                losses["perceptual"] = self.perceptual(*(central(x) for x in (patches, target))).mean()
            total = total + recipe.perceptual * losses["perceptual"]
        if batch.neighbours:
            (drawn, drawn_next), (true, true_next) = patches.chunk(2), target.chunk(2)
            change = (drawn_next - drawn) - (true_next - true)
            losses["temporal"] = (weight[: len(change)] * change.abs()).mean()
            total = total + recipe.temporal * losses["temporal"]
        outputs = {}
        for name, discriminator in self.adversaries.items():
            if discriminator.active(step):
                losses["hinge"], losses["matching"] = discriminator.terms(patches, target, contours)
                total = total + recipe.adversarial * losses["hinge"] + recipe.matching * losses["matching"]
                if step % LEARN_EVERY == 0:
                    outputs[name] = (patches.detach(), target, contours)
        return losses | {"total": total}, outputs


def beside_lips(contours: Tensor) -> Tensor:
    """Where neither lips nor their surroundings are: contours [B,2,P,P] -> [B,1,P,P] in 0..1."""
    return 1 - F.max_pool2d(contours[:, :1], AROUND, 1, AROUND // 2)


def central(patches: Tensor) -> Tensor:
    """Patches [B,3,P,P] without the border that fades -> [B,3,SEEN,SEEN]."""
    inner = patches[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    return resize(inner, (SEEN, SEEN))


def change_colours(batch: MouthBatch, strength: float) -> None:
    """Colours, exposure, grey and JPEG, the same for target, warped portrait and references; changes the batch."""
    count, references = batch.patches.shape[:2]
    strip = torch.cat([batch.target, batch.warped, *batch.patches.unbind(1)], 3)  # side by side: one change for all
    strip = colour(strip, strength)
    strip = apply_to_share(strip, 0.12, _tone)
    strip = apply_to_share(strip, 0.08, jpeg).view(count, 3, PATCH, references + 2, PATCH)
    target, warped, *others = strip.unbind(3)
    batch.target.copy_(target)
    batch.warped.copy_(warped)
    batch.patches.copy_(torch.stack(others, 1))


def _tone(picture: Tensor) -> Tensor:
    """One hue for all: a statue, a sepia print, a drawing."""
    luma = (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    tint = 0.25 * (torch.rand(3, 1, 1) - 0.5).to(picture.device)
    return (luma * (0.8 + 0.5 * torch.rand(()).item()) + tint).clamp(-1, 1)
