"""A decoder that draws what another one draws: for a smaller one, hours of training in minutes (Hinton et al. 2015,
with layers and frames in place of class probabilities).

No true frame is needed, so every portrait is drawn under its own drive and under other people's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from anitalker.config import CROP
from anitalker.decoder.composition import compose
from anitalker.decoder.decoder import Decoder, Layers
from anitalker.motion.motion_space import MotionSpace
from scripts.training.pairs import Pairs
from scripts.training.pictures import importance, lips_mask
from scripts.training.presets import Decoder as Recipe

DRIVES = 2  # of each portrait: its pair's, and another pair's
WEIGHTS = {"frame": 1.0, "edges": 1.0, "flow": 0.1, "masks": 0.2, "synthesised": 0.3}


class DecoderDistillation(nn.Module):
    """Terms, all L1 to the teacher's:

    frame         the composed frames, by `importance`
    edges         their differences to the next pixel, so that sharpness is kept
    flow          pixels
    masks         of the three layers
    synthesised   pixels, where the teacher lets them through
    """

    adversaries: ClassVar[dict[str, nn.Module]] = {}
    separation = None

    def __init__(self, space: MotionSpace, decoder: Decoder, teacher: Decoder, recipe: Recipe) -> None:
        super().__init__()
        self.space, self.decoder, self.teacher, self.recipe = space, decoder, teacher, recipe
        for network in (space, teacher):
            network.requires_grad_(False).eval()

    def forward(self, pairs: Pairs, step: int) -> tuple[dict[str, Tensor], dict[str, tuple]]:
        """Losses by name with their `total`, and pictures of the log."""
        device, picture = pairs.picture_a.device.type, pairs.picture_a
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            codes = self.space(picture)
        landmarks = pairs.landmarks_a + torch.randn_like(pairs.landmarks_a) * 0.001
        compared: list[dict[str, Tensor]] = []
        shown: tuple[Tensor, Tensor] = (picture, picture)
        for drive in range(DRIVES):
            motion = codes.motion + (pairs.codes_b - pairs.codes_a).roll(drive, 0)
            target = self.space.landmarks(landmarks, codes.motion, motion)
            prepare = picture, landmarks, codes.motion, codes.appearance, self.recipe.mouth > 0
            try:
                with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                    wanted = self.teacher.layers(self.teacher.prepare(*prepare), target, motion)
                with torch.autocast(device, torch.bfloat16):
                    layers = self.decoder.layers(self.decoder.prepare(*prepare), target, motion)
            except torch.linalg.LinAlgError:  # landmarks under a foreign drive fell together
                continue
            frames, true = compose(picture, layers), compose(picture, wanted)
            compared.append(self._terms(layers, wanted, frames, true, target))
            shown = frames.detach(), wanted.masks * 2 - 1
        sums = {name: torch.stack([terms[name] for terms in compared]).mean() for name in compared[0]}
        total = torch.stack([WEIGHTS[name] * term for name, term in sums.items()]).sum()
        return {**sums, "total": total}, {"pictures": shown}

    def _terms(
        self, layers: Layers, wanted: Layers, frames: Tensor, true: Tensor, landmarks: Tensor
    ) -> dict[str, Tensor]:
        other = (1 - self.recipe.mouth) * lips_mask(landmarks, CROP)  # the share that the mouth synthesiser draws
        weight = importance(landmarks, CROP)[0] * (1 - other)
        return {
            "frame": (weight * (frames - true).abs()).mean(),
            "edges": sum((weight.narrow(d, 1, CROP - 1) * (frames - true).diff(dim=d).abs()).mean() for d in (2, 3)),
            "flow": (weight * (layers.flow - wanted.flow).abs()).mean() * CROP,
            "masks": (weight * (layers.masks - wanted.masks).abs()).mean(),
            "synthesised": (weight * wanted.masks[:, 2:] * (layers.synthesised - wanted.synthesised).abs()).mean(),
        }
