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
from scripts.training.losses import feature_distance, feature_network
from scripts.training.mouth_adversary import MouthDiscriminator
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
    adversarial: float = setting(0.15, "weight of the hinge term; needs a perceptual network")
    adversarial_after: int = setting(4000, "steps before it sets in")
    area: float = setting(0.03, "weight: alpha where no lips are, so that the warped skin stays")
    temporal: float = setting(1.0, "weight: the change to the neighbouring frame")
    jitter: float = setting(0.35, "strength of colour changes")


class MouthObjective(nn.Module):
    """The synthesiser and its losses as one module; the discriminator stays outside of its parameters."""

    def __init__(self, network: MouthSynthesizer, recipe: MouthRecipe, perceptual_network: str) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        features = feature_network(perceptual_network) if recipe.perceptual else None
        self.features = features
        self.adversaries = {}
        if features is not None and recipe.adversarial:
            with torch.no_grad():
                channels = [maps.shape[1] for maps in features(torch.zeros(1, 3, SEEN, SEEN))]
            self.adversaries[MouthDiscriminator.NAME] = MouthDiscriminator(channels, recipe.adversarial_after)

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
        outputs = {}
        if self.features is not None:
            with torch.autocast(target.device.type, torch.bfloat16):
                drawn = self.features(central(patches))
                with torch.no_grad():
                    true = self.features(central(target))
            losses["perceptual"] = feature_distance(drawn, true).mean()
            total = total + recipe.perceptual * losses["perceptual"]
            inner = contours[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
            for name, discriminator in self.adversaries.items():
                if discriminator.active(step):
                    losses["hinge"] = discriminator.term(drawn, inner)
                    total = total + recipe.adversarial * losses["hinge"]
                    outputs[name] = ([maps.detach() for maps in drawn], true, inner)
        if batch.neighbours:
            change = following(patches) - following(target)
            losses["temporal"] = (weight[: len(change)] * change.abs()).mean()
            total = total + recipe.temporal * losses["temporal"]
        return losses | {"total": total}, outputs


def following(patches: Tensor) -> Tensor:
    """Neighbouring patches [2 B,3,P,P], all first ones first -> what changes from one to the next, [B,3,P,P]."""
    before, after = patches.chunk(2)
    return after - before


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
