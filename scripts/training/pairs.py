"""Pairs of one person's frames for stage one: drawn from the decoded clips and stills, augmented together."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE, DecoderConfig
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.faces.landmarks import fit_pose, lip_opening
from anitalker.faces.similarity_transform import Similarity
from anitalker.motion.motion_space import MotionSpace, lid_scale, upright
from encoders.image import to_tensor
from scripts.training.augment import after, choose, mirror, mirror_index, random_similarity
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels, align


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

    def select(self, keep: Tensor) -> Pairs:
        return Pairs(*(getattr(self, f.name)[keep] for f in fields(self)))

    def to(self, device: torch.device) -> Pairs:
        return Pairs(*(getattr(self, f.name).to(device) for f in fields(self)))


class PairSampler:
    """Draws pairs: a person by weight, a clip, two frames of it; a still is paired with itself.

    A person counts with the square root of the frames there are. Random numbers are drawn on the CPU, pictures made on
    `device` from the cache's uint8 frames of any size.
    """

    def __init__(
        self,
        cache: FrameCache,
        labels: MotionLabels,
        stills: float = 0.3,
        aligned: float = 0.0,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.cache, self.labels, self.stills, self.aligned = cache, labels, stills, aligned
        self.device = torch.device(device)
        self.rng = np.random.default_rng(seed)
        usable = np.flatnonzero(cache.good & (cache.clip >= 0))
        self.by_clip = [usable[cache.clip[usable] == c] for c in range(len(cache.rows))]
        self.clips = np.array([c for c in range(len(cache.rows)) if len(self.by_clip[c]) >= 2])
        people: dict[str, int] = {}
        for clip in self.clips:
            name = cache.rows[clip]["identity"]
            people[name] = people.get(name, 0) + len(self.by_clip[clip])
        # Square root of a person's frames: the one with 20 minutes does not drown the others.
        weight = np.array([len(self.by_clip[c]) / people[cache.rows[c]["identity"]] ** 0.5 for c in self.clips])
        self.weight = weight / weight.sum()
        self.still_numbers = np.flatnonzero(cache.clip < 0)
        self.mirrored = mirror_index(labels.canonical)
        self.prior = _ExpressionPrior(labels)

    def reseed(self, seed: int) -> None:
        """What is drawn next depends on this number and torch's random state alone."""
        self.rng = np.random.default_rng(seed)

    def draw(self, count: int) -> Pairs:
        """`count` pairs, each mirrored, rolled, sized and shifted at random; both pictures of a pair alike.

        A share `aligned` of the pairs is seen as `MotionSpace`'s second look sees them: each picture upright and large.
        """
        stills = int(self.rng.binomial(count, self.stills)) if len(self.still_numbers) else 0
        clips = self.rng.choice(self.clips, count - stills, p=self.weight)
        numbers = [self.rng.choice(self.by_clip[c], 2, replace=False) for c in clips]
        numbers += [np.repeat(n, 2) for n in self.rng.choice(self.still_numbers, stills)] if stills else []
        a, b = np.array(numbers).T
        names = [self.cache.rows[c]["identity"] for c in clips]
        labelled = torch.arange(count) < count - stills
        neutral = torch.stack([self.labels.neutrals[n] for n in names] + [self.labels.canonical] * stills)
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

    def _see(self, numbers: np.ndarray, flipped: Tensor, change: Similarity, aligned: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and landmarks of these frames under `change`, or upright with the first look's kind of error."""
        pictures = to_tensor(self.cache.pictures(numbers, self.device))
        marks = torch.tensor(self.cache.landmarks[numbers])
        pictures, marks = mirror(pictures, marks, self.mirrored, flipped)
        if aligned.any():
            pose = fit_pose(marks, self.labels.canonical)
            error = random_similarity(len(marks), roll=0.08, size=0.06, shift=0.02)
            change = choose(aligned, after(upright(pose), error), change)
        there = Similarity(*(x.to(self.device) for x in (change.roll, change.size, change.shift)))
        return there.pictures(pictures), change.landmarks(marks)

    def _codes(self, landmarks: Tensor, neutral: Tensor, labelled: Tensor) -> Tensor:
        shape, pose = align(landmarks, self.labels.canonical)
        moved = ((shape - neutral) / lid_scale(neutral, self.labels.canonical)).flatten(1) @ self.labels.directions
        guess = self.prior(shape)
        return torch.cat([pose, torch.where(labelled[:, None], moved, guess)], 1)


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
    marks, codes = pairs.landmarks_b[stills], pairs.codes_b[stills]
    change = pairs.codes_a[other] - pairs.codes_b[other]
    moved = space.landmarks(marks, codes, codes + change)
    opened = lip_opening(moved) > lip_opening(marks) + 0.01
    change[:, POSE_SIZE:] *= (~opened).float()[:, None]
    moved = space.landmarks(marks, codes, codes + change)
    size = pairs.picture_b.shape[-1]
    flow = landmark_flow(marks, moved, min(DecoderConfig.grid, size), DecoderConfig.smoothing)
    pairs.picture_a[stills] = warp(pairs.picture_b[stills], resize(flow, (size, size)))
    pairs.landmarks_a[stills] = moved
    pairs.codes_a[stills] = codes + change
    return pairs


def opening_pairs(pairs: Pairs, share: float = 0.75) -> Pairs:
    """Let the drive be the one with the wider mouth in most pairs: opening a closed mouth is what must be learned."""
    wider = lip_opening(pairs.landmarks_a) > lip_opening(pairs.landmarks_b)
    swap = wider & (torch.rand(len(wider)) < share).to(wider.device)
    swapped = {}
    for name in ("picture", "landmarks", "codes"):
        a, b = getattr(pairs, f"{name}_a"), getattr(pairs, f"{name}_b")
        mask = swap.view(-1, *[1] * (a.ndim - 1))
        swapped |= {f"{name}_a": torch.where(mask, b, a), f"{name}_b": torch.where(mask, a, b)}
    return replace(pairs, **swapped)


class _ExpressionPrior:
    """The likeliest expression of a face whose neutral is unknown: x = neutral + D e with Gaussian neutral and e.

    Posterior mean in the span of the directions, spreads measured on the neutrals and taken as equal in size: a weak
    label, only for the parts that people hardly differ in (an open mouth is an open mouth).
    """

    def __init__(self, labels: MotionLabels) -> None:
        neutrals = torch.stack(list(labels.neutrals.values()))
        self.mean = neutrals.mean(0)
        inside = (neutrals - self.mean).flatten(1) @ labels.directions
        people = torch.cov(inside.T)
        # About the spread of expressions along the directions in the training clips, in face heights.
        motion = torch.diag(torch.linspace(0.27, 0.03, labels.directions.shape[1]).square())
        self.gain = motion @ torch.linalg.inv(motion + people)
        self.directions = labels.directions

    def __call__(self, shape: Tensor) -> Tensor:
        return ((shape - self.mean).flatten(1) @ self.directions) @ self.gain.T
