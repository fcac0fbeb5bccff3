"""What both stages that make pictures ask of them: L1, features, a discriminator; with weights for mouth and eyes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.decoder.flow import resize
from anitalker.faces.landmarks import FACE_OVAL, INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, rasterise
from encoders.image import to_tensor
from scripts.training.adversarial import PATCH, Discriminator, patches, random_shift, views
from scripts.training.data import FrameCache
from scripts.training.losses import PerceptualLoss, feature_network, photometric
from scripts.training.pairs import Pairs
from scripts.training.presets import Pictures

PERCEPTUAL_POINTS = (14, 14, 14, 14, 159, 386)  # middles of perceptual patches: the mouth, every third time an eye


class PictureTerms(nn.Module):
    """Photometric, perceptual and adversarial terms of one recipe.

    perceptual_network: `vgg19`, `none` or a file (see losses.feature_network). Adversaries stand in a dict: their
    parameters stay outside of what the main optimizer and DistributedDataParallel see.
    """

    def __init__(self, recipe: Pictures, perceptual_network: str) -> None:
        super().__init__()
        self.recipe = recipe
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
            point = PERCEPTUAL_POINTS[int(torch.randint(len(PERCEPTUAL_POINTS), ()))]
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
