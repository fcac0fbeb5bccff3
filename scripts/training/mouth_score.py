"""Perceptual distance of mouth patches on val, over that of the bare warp to the same points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anitalker.decoder.flow import landmark_flow
from anitalker.decoder.mouth import MouthSynthesizer, lay_over
from anitalker.decoder.mouth_patch import cut_patch, lip_contours, place_patch, warp_patch
from anitalker.network_config import DecoderConfig
from encoders.image import to_tensor
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.losses import PerceptualLoss
from scripts.training.mouth_data import APART, GRID, MouthBatch
from scripts.training.mouth_objective import beside_lips, central

LEAST_FRAMES = 98  # from a clip's first to its last, 4 s where every second one is decoded


def validation_batches(cache: FrameCache, labels: MotionLabels, per_clip: int = 12) -> list[MouthBatch]:
    """A batch per clip of 4 s and more: four references of its first third, targets of its last half, by the labels.

    The portrait is the clip's first good frame; every reference is at least a second from every target.
    """
    batches = []
    for clip, row in enumerate(cache.rows):
        frames = cache.frames_of(clip)
        numbers = cache.frame[frames]
        if not len(frames) or numbers[-1] < LEAST_FRAMES:
            continue
        early = frames[numbers <= numbers[-1] / 3]
        late = frames[(numbers >= numbers[-1] / 2) & (numbers - cache.frame[early[-1]] >= APART)]
        if not len(late):
            continue
        chosen = early[np.linspace(0, len(early) - 1, 4).round().astype(int)]
        targets = late[np.linspace(0, len(late) - 1, min(per_clip, len(late))).round().astype(int)]
        pictures, landmarks = cache.draw(np.r_[chosen, targets])
        pictures, placement = to_tensor(pictures), place_patch(landmarks)
        codes, count = labels.codes(landmarks.numpy(), row["identity"]), len(targets)
        portrait, shown = landmarks[:1].expand(count, -1, -1), landmarks[4:]
        flow = landmark_flow(portrait, shown, GRID, DecoderConfig.smoothing)
        patches = cut_patch(pictures, placement)
        warped = warp_patch(pictures[:1].expand(count, -1, -1, -1), flow, placement[4:])
        references = (x[None, :4] for x in (patches, landmarks, codes))
        batches.append(MouthBatch(warped, patches[4:], shown, codes[4:], *references))
    return batches


@torch.no_grad()
def score_mouths(network: MouthSynthesizer, batches: list[MouthBatch], perceptual: PerceptualLoss) -> dict[str, float]:
    """Ratios to the bare warp's distance with one reference and with four; `warp`: that distance; `seam`: as below."""
    sums = {"warp": 0.0, "one": 0.0, "four": 0.0, "seam": 0.0}
    for batch in batches:
        target = central(batch.target)
        with torch.autocast(target.device.type, torch.bfloat16):
            outputs = {"one": draw(network, batch, 1), "four": draw(network, batch, 4)}
            skin = beside_lips(lip_contours(batch.landmarks, place_patch(batch.landmarks)))
            sums["seam"] += seam(batch.warped, outputs["one"], skin) / len(batches)
            pictures = {"warp": batch.warped} | {k: lay_over(batch.warped, output) for k, output in outputs.items()}
            for name, patches in pictures.items():
                sums[name] += float(perceptual(central(patches), target).mean()) / len(batches)
    ratios = {name: sums[name] / sums["warp"] for name in ("one", "four")}
    return ratios | {"warp": sums["warp"], "seam": sums["seam"]}


def draw(network: MouthSynthesizer, batch: MouthBatch, references: int) -> Tensor:
    """RGB and alpha of a batch with the first so many references: [B,4,P,P]."""
    chosen = (x[:, :references] for x in (batch.patches, batch.patch_landmarks, batch.patch_motion))
    return network(batch.warped, batch.landmarks, batch.motion, network.encode(*chosen)).float()


def seam(warped: Tensor, output: Tensor, skin: Tensor) -> float:
    """Step of colour from drawn to warped skin in levels of 255: their difference, weighted by the slope of alpha.

    warped [B,3,P,P]; output [B,4,P,P]; skin [B,1,P,P]: where it counts.
    """
    alpha = output[:, 3:]
    slope = (alpha[:, :, 1:, 1:] - alpha[:, :, :-1, 1:]).abs() + (alpha[:, :, 1:, 1:] - alpha[:, :, 1:, :-1]).abs()
    slope = slope * skin[:, :, 1:, 1:]
    step = (output[:, :3] - warped).abs().mean(1, keepdim=True)[:, :, 1:, 1:]
    return float(127.5 * (step * slope).sum() / slope.sum().clamp(min=1e-6))
