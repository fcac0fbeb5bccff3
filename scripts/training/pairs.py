"""Pairs of one person's frames for stage one: drawn from the decoded clips and stills, augmented together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.faces.landmarks import fit_pose, lip_opening
from anitalker.faces.similarity_transform import Similarity
from anitalker.motion.motion_space import MotionSpace, lid_scale, upright
from anitalker.network_config import DecoderConfig
from encoders.image import to_tensor
from scripts.training.augment import after, choose, colour_pairs, mirror, mirror_index, random_similarity
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels, align
from scripts.training.presets import Pictures


@dataclass(frozen=True)
class Pairs:
    """B pairs, a the source and b the drive: pictures [B,3,n,n] in [-1,1], landmarks [B,468,3], codes [B,20].

    labelled [B]: the person's neutral is known, so the expression part of the codes is a label; for stills it is an
    estimate. neutral [B,468,3]; identity [B].
    """

    picture_a: Tensor
    picture_b: Tensor
    landmarks_a: Tensor
    landmarks_b: Tensor
    codes_a: Tensor
    codes_b: Tensor
    neutral: Tensor
    labelled: Tensor
    identity: Tensor

    def to(self, device: torch.device) -> Pairs:
        """The same pairs on a device."""
        return Pairs(*(getattr(self, f.name).to(device) for f in fields(self)))


class PairSampler:
    """Draws pairs: a person by weight, a clip, two frames of it; a still is paired with itself.

    Random numbers are drawn on the CPU, pictures made on `device` from the cache's uint8 frames of any size. A share
    `stills` of the pairs are stills; a share `aligned` is seen as `MotionSpace`'s second look sees it: each picture
    upright and large.
    """

    def __init__(
        self,
        cache: FrameCache,
        labels: MotionLabels,
        stills: float = 0.3,
        aligned: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.cache, self.labels, self.stills, self.aligned = cache, labels, stills, aligned
        self.device = torch.device(device)
        self.frames = [cache.frames_of(clip) for clip in range(len(cache.rows))]
        self.clips = np.array([clip for clip, frames in enumerate(self.frames) if len(frames) >= 2])
        # Square root of a person's frames: the one with 20 minutes does not drown the others.
        counts = np.array([len(self.frames[clip]) for clip in self.clips])
        people = np.array([cache.identity[self.frames[clip][0]] for clip in self.clips])
        weight = counts / np.bincount(people, counts)[people] ** 0.5
        self.weight = weight / weight.sum()
        self.still_numbers = np.flatnonzero(cache.clip < 0)
        self.mirrored = mirror_index(labels.canonical)
        self.prior = expression_prior(labels)

    def draw(self, count: int, seed: int = 0) -> Pairs:
        """`count` pairs, each mirrored, rolled, sized and shifted at random, both pictures alike; the seed and torch's
        random state decide.
        """
        rng = np.random.default_rng(seed)
        stills = int(rng.binomial(count, self.stills)) if len(self.still_numbers) else 0
        clips = rng.choice(self.clips, count - stills, p=self.weight)
        numbers = [rng.choice(self.frames[clip], 2, replace=False) for clip in clips]
        numbers += [np.repeat(n, 2) for n in rng.choice(self.still_numbers, stills)] if stills else []
        a, b = np.array(numbers).T
        names = [self.cache.rows[clip]["identity"] for clip in clips]
        labelled = torch.arange(count) < count - stills
        neutral = torch.stack([self.labels.neutrals[name] for name in names] + [self.labels.canonical] * stills)
        flipped = torch.rand(count) < 0.5
        mirrored = (neutral * torch.tensor([-1.0, 1.0, 1.0]))[:, self.mirrored]
        neutral = torch.where(flipped[:, None, None], mirrored, neutral)
        change, aligned = random_similarity(count), torch.rand(count) < self.aligned
        picture_a, landmarks_a = self._see(a, flipped, change, aligned)
        picture_b, landmarks_b = self._see(b, flipped, change, aligned)
        codes_a, codes_b = (self._codes(x, neutral, labelled) for x in (landmarks_a, landmarks_b))
        identity = torch.tensor(self.cache.identity[a])
        pairs = Pairs(picture_a, picture_b, landmarks_a, landmarks_b, codes_a, codes_b, neutral, labelled, identity)
        return pairs.to(self.device)

    def opening_pairs(self, recipe: Pictures, geometry: MotionSpace, seed: int) -> Pairs:
        """A batch of a recipe: mouths mostly open from source to drive, stills move, colours change."""
        pairs = animate_stills(open_mouths(self.draw(recipe.batch, seed)), geometry)
        if recipe.jitter:
            colour_pairs(pairs.picture_a, pairs.picture_b, recipe.jitter)
        return pairs

    def _see(self, numbers: np.ndarray, flipped: Tensor, change: Similarity, aligned: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and landmarks of these frames under `change`, or upright with the first look's kind of error."""
        pictures = to_tensor(self.cache.pictures(numbers, self.device))
        landmarks = torch.tensor(self.cache.landmarks[numbers])
        pictures, landmarks = mirror(pictures, landmarks, self.mirrored, flipped)
        if aligned.any():
            pose = fit_pose(landmarks, self.labels.canonical)
            error = random_similarity(len(landmarks), roll=0.08, size=0.06, shift=0.02)
            change = choose(aligned, after(upright(pose), error), change)
        on_device = Similarity(*(x.to(self.device) for x in (change.roll, change.size, change.shift)))
        return on_device.pictures(pictures), change.landmarks(landmarks)

    def _codes(self, landmarks: Tensor, neutral: Tensor, labelled: Tensor) -> Tensor:
        shape, pose = align(landmarks, self.labels.canonical)
        known = expression_codes(shape, neutral, self.labels)
        return torch.cat([pose, torch.where(labelled[:, None], known, self.prior(shape))], 1)


@torch.no_grad()
def animate_stills(pairs: Pairs, space: MotionSpace) -> Pairs:
    """A still becomes a pair: its source is the still moved by another pair's change of code, its target the still
    itself.

    So the target is always a real picture. Expression changes that would open the source's mouth further are left out.
    """
    stills = (~pairs.labelled).nonzero().flatten()
    moving = pairs.labelled.nonzero().flatten()
    if not len(stills) or not len(moving):
        return pairs
    other = moving[torch.randint(len(moving), (len(stills),))]
    landmarks, codes = pairs.landmarks_b[stills], pairs.codes_b[stills]
    change = pairs.codes_a[other] - pairs.codes_b[other]
    opened = lip_opening(space.landmarks(landmarks, codes, codes + change)) > lip_opening(landmarks) + 0.01
    change[:, POSE_SIZE:] *= (~opened).float()[:, None]
    moved = space.landmarks(landmarks, codes, codes + change)
    size = pairs.picture_b.shape[-1]
    flow = landmark_flow(landmarks, moved, min(DecoderConfig.grid, size), DecoderConfig.smoothing)
    pairs.picture_a[stills] = warp(pairs.picture_b[stills], resize(flow, (size, size)))
    pairs.landmarks_a[stills] = moved
    pairs.codes_a[stills] = codes + change
    return pairs


def open_mouths(pairs: Pairs, share: float = 0.75) -> Pairs:
    """Let the drive be the one with the wider mouth in most pairs: opening a closed mouth is what must be learned."""
    wider = lip_opening(pairs.landmarks_a) > lip_opening(pairs.landmarks_b)
    swap = wider & (torch.rand(len(wider)) < share).to(wider.device)
    swapped = {}
    for name in ("picture", "landmarks", "codes"):
        a, b = getattr(pairs, f"{name}_a"), getattr(pairs, f"{name}_b")
        mask = swap.view(-1, *[1] * (a.ndim - 1))
        swapped |= {f"{name}_a": torch.where(mask, b, a), f"{name}_b": torch.where(mask, a, b)}
    return replace(pairs, **swapped)


def expression_codes(shape: Tensor, neutral: Tensor, labels: MotionLabels) -> Tensor:
    """Canonical shapes [B,468,3] of people with these neutrals [B,468,3] -> expression [B,K]."""
    return ((shape - neutral) / lid_scale(neutral, labels.canonical)).flatten(1) @ labels.directions


def expression_prior(labels: MotionLabels) -> Callable[[Tensor], Tensor]:
    """The likeliest expression of a face whose neutral is unknown: x = neutral + D e with Gaussian neutral and e.

    Posterior mean in the span of the directions, spreads measured on the neutrals and taken as equal in size: a weak
    label, only for the parts that people hardly differ in (an open mouth is an open mouth).
    """
    neutrals, directions = torch.stack(list(labels.neutrals.values())), labels.directions
    mean = neutrals.mean(0)
    people = torch.cov(((neutrals - mean).flatten(1) @ directions).T)
    # About the spread of expressions along the directions in the training clips, in face heights.
    motion = torch.diag(torch.linspace(0.27, 0.03, directions.shape[1]).square())
    gain = motion @ torch.linalg.inv(motion + people)
    return lambda shape: ((shape - mean).flatten(1) @ directions) @ gain.T
