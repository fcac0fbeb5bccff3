"""A short training that makes the mouth synthesiser's last layers one person's.

Letters: B frames, n frames, N = 468 landmarks, M = 20 motion numbers, P = 128 pixels of a patch.

The task is the one that the person file will have: the portrait and its references are fixed, the frames of the video
are the targets. What a frame takes from the references is therefore computed once; a step runs the drawing half alone.
The held-out tail of the video decides which weights are kept, and whether any are.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.decoder.flow import landmark_flow
from anitalker.decoder.mouth import MouthSynthesizer, References, Taken, lay_over
from anitalker.decoder.mouth_adapters import changes_of, tuned_keys, with_changes
from anitalker.decoder.mouth_patch import cut_patch, lip_contours, place_patch, warp_patch
from anitalker.models.base import ProgressCallback
from anitalker.models.lite import Lite, LiteFace
from anitalker.network_config import DecoderConfig
from anitalker.person.selection import Frames
from anitalker.runtime.device import draws_in_bfloat16
from anitalker.runtime.transfer import to_bytes, to_tensors

GRID = 48  # of the landmark flow, as in the synthesiser's own training
BATCH = 8
LEARNING_RATE, AVERAGING = 4e-4, 0.98  # of the optimiser; of the exponential average of the weights, per step
COLOUR, AREA, FEATURES = 0.5, 0.03, 1.0  # weights of the terms beside L1, whose weight is 2 (scripts.train_mouth)
L1 = 2.0
STAGES = 3  # of the image encoder, whose features are compared
AROUND = 9  # pixels of a window: alpha is free as far from the lips
SCORE_EVERY = 40  # steps
PATIENCE = 8  # scores without a better one, after which nothing is gained any more
LEAST_GAIN = 0.01  # of the score: with less, the shipped weights stay


@dataclass(frozen=True)
class MouthTargets:
    """Patches of n frames and what the synthesiser takes for them, as bytes and float16: warped, target, pixels uint8
    [n,P,P,3]; contours uint8 [n,P,P,3]: outer lips, inner lips, what
    is beside them; motion [n,M]; seen, values, shape: see `Taken`."""

    warped: Tensor
    target: Tensor
    pixels: Tensor
    contours: Tensor
    motion: Tensor
    seen: Tensor
    values: Tensor
    shape: Tensor

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Taken, Tensor]:
        """Warped, target [B,3,P,P], motion, `Taken` and contours [B,3,P,P] of some frames."""
        contours = self.contours[rows].permute(0, 3, 1, 2).float() / 255
        taken = Taken(
            self.seen[rows].float(), to_tensors(self.pixels[rows]), self.values[rows].float(), self.shape[rows]
        )
        return to_tensors(self.warped[rows]), to_tensors(self.target[rows]), self.motion[rows], taken, contours


@dataclass(frozen=True)
class MouthTuning:
    """changes: of weights, empty where nothing was gained; before, after: scores of the tail (less is better); seconds:
    that it took; steps; finished: False where it was broken off."""

    changes: dict[str, Tensor]
    before: float
    after: float
    seconds: float
    steps: int
    finished: bool


@torch.no_grad()
def see_targets(model: Lite, face: LiteFace, frames: Frames, chosen: np.ndarray) -> MouthTargets:
    """What the portrait's mouth shall become in each of n chosen frames: its landmarks moved by the motion code."""
    network, known = model.mouth, face.mouth
    assert network is not None and known is not None
    references: References = known.references
    rows: list[tuple[Tensor, ...]] = []
    for numbers in np.array_split(chosen, max(1, len(chosen) // BATCH)):
        motion = torch.tensor(frames.motion[numbers], device=model.device)
        landmarks = model.space.move(face.resting, motion)
        placement = place_patch(landmarks)
        source = face.landmarks.expand(len(numbers), -1, -1)
        flow = landmark_flow(source, landmarks, GRID, DecoderConfig.smoothing)
        warped = warp_patch(known.picture.expand(len(numbers), -1, -1, -1), flow, placement)
        target = cut_patch(to_tensors(torch.from_numpy(frames.crops[numbers]).to(model.device)), placement)
        taken = network.take(warped, landmarks, motion, references)
        lips = lip_contours(landmarks, placement)
        beside = 1 - F.max_pool2d(lips[:, :1], AROUND, 1, AROUND // 2)
        contours = (255 * torch.cat([lips, beside], 1)).round().byte().permute(0, 2, 3, 1)
        pictures = [to_bytes(patch) for patch in (warped, target, taken.pixels)]
        rows.append((*pictures, contours, motion, taken.seen.half(), taken.values.half(), taken.shape))
    return MouthTargets(*(torch.cat(values) for values in zip(*rows, strict=True)))


class MouthLoss(nn.Module):
    """L1 where lips and mouth count more, the colour alone, features of the image encoder, alpha beside the lips."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        pyramid = cast(Any, encoder)
        stages = [pyramid.stem, *list(pyramid.blocks)[: STAGES - 1]]
        self.stages = nn.ModuleList(copy.deepcopy(stage) for stage in stages).requires_grad_(False)
        self.channels = int(pyramid.out_channels[0])

    def forward(self, network: MouthSynthesizer, batch: tuple[Tensor, Tensor, Tensor, Taken, Tensor]) -> Tensor:
        """The loss of a batch, as `MouthTargets.batch` gives it: a mean over frames."""
        warped, target, motion, taken, contours = batch
        with torch.autocast(warped.device.type, torch.bfloat16, enabled=_in_bfloat16(network, warped)):
            output = network.draw(warped, motion, taken).float()
        patches = lay_over(warped, output)
        weight = 1 + 3 * contours[:, :1] + 2 * contours[:, 1:2]
        total = L1 * (weight * (patches - target).abs()).mean() + AREA * (output[:, 3:] * contours[:, 2:]).mean()
        total = total + COLOUR * (contours[:, :1] * (output[:, :3] - target).abs()).mean()
        return total + FEATURES * self.distance(patches, target)

    def distance(self, patches: Tensor, target: Tensor) -> Tensor:
        """Squared distance of feature maps, each place's channels scaled to length one (Zhang et al. 2018, eq. 1)."""
        in_bfloat16 = draws_in_bfloat16(patches.device, self.channels)
        with torch.autocast(patches.device.type, torch.bfloat16, enabled=in_bfloat16):
            drawn = self._features(patches)
            with torch.no_grad():
                true = self._features(target)
        scaled = ([F.normalize(maps.float(), dim=1) for maps in features] for features in (drawn, true))
        return torch.stack([(a - b).square().sum(1).mean() for a, b in zip(*scaled, strict=True)]).sum()

    def _features(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def tune_mouth(
    network: MouthSynthesizer,
    loss: MouthLoss,
    targets: MouthTargets,
    tail: np.ndarray,
    seconds: float,
    start: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> MouthTuning:
    """Train for at most so many seconds, or until the tail (bool [n]) gets no better; the best weights are kept.

    start: changes to go on from. Ctrl+C ends it with the best so far.
    """
    steps, finished = 0, True
    tuned = with_changes(network, start or {})
    keys = set(tuned_keys(tuned))
    for name, parameter in tuned.named_parameters():
        parameter.requires_grad_(name in keys)
    averaged = copy.deepcopy(tuned)
    learned = np.flatnonzero(~tail)
    judged = torch.from_numpy(np.flatnonzero(tail))
    optimizer = torch.optim.AdamW(
        [p for p in tuned.parameters() if p.requires_grad], LEARNING_RATE, betas=(0.5, 0.99), weight_decay=0.0
    )
    rng = np.random.default_rng(seed)
    before = score(network, loss, targets, judged)
    best = score(averaged, loss, targets, judged) if start else before
    changes, missed, begun = dict(start or {}), 0, time.monotonic()
    try:
        while missed < PATIENCE and (elapsed := time.monotonic() - begun) < seconds:
            rows = torch.from_numpy(rng.choice(learned, min(BATCH, len(learned)), replace=False))
            optimizer.zero_grad(set_to_none=True)
            loss(tuned, targets.batch(rows)).backward()
            torch.nn.utils.clip_grad_norm_(tuned.parameters(), 1.0)
            optimizer.step()
            steps += 1
            with torch.no_grad():
                for key in keys:
                    averaged.get_parameter(key).lerp_(tuned.get_parameter(key), 1 - AVERAGING)
            if progress:
                progress("tuning", int(elapsed), int(seconds))
            if steps % SCORE_EVERY == 0:
                value = score(averaged, loss, targets, judged)
                missed = 0 if value < best else missed + 1
                if value < best:
                    best, changes = value, changes_of(averaged, network)
        if progress:
            progress("tuning", int(seconds), int(seconds))
    except KeyboardInterrupt:
        finished = False
    if best > (1 - LEAST_GAIN) * before:
        changes, best = {}, before
    return MouthTuning(changes, before, best, time.monotonic() - begun, steps, finished)


@torch.no_grad()
def score(network: MouthSynthesizer, loss: MouthLoss, targets: MouthTargets, rows: Tensor) -> float:
    """Mean loss of some frames."""
    batches = rows.split(BATCH)
    return float(sum(len(part) * float(loss(network, targets.batch(part))) for part in batches) / len(rows))


def _in_bfloat16(network: MouthSynthesizer, sample: Tensor) -> bool:
    return draws_in_bfloat16(sample.device, network.config.channels[0])
