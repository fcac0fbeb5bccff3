"""Mouth patches of one person: a target, the portrait that is warped to it, and references; drawn from decoded clips.

Letters: B targets, K references (the first is the portrait itself), N = 468 landmarks, M = 20 motion, P pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.decoder.mouth_patch import cut_patch, place_patch, warp_patch
from anitalker.faces.landmarks import lip_opening
from anitalker.motion.motion_space import MotionSpace
from anitalker.network_config import DecoderConfig
from encoders.image import to_tensor
from scripts.training.augment import mirror, mirror_index
from scripts.training.codes import label_space
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels, align
from scripts.training.pairs import expression_codes, expression_prior

GRID = 48  # of the landmark flow: the patch sees a fifth of the crop
LEAST_FRAMES = 3  # of a clip, or it is left out
APART = 25  # frames (1 s) between a target and its references, in the same clip
FAR_SHARE = 0.75  # of references that are that far away, or of another clip
SHUT_SHARE = 0.4  # of portraits that are taken from the frames of a clip whose mouth is shut
OPEN_WEIGHT, WIDE = 0.3, 0.05  # a target counts this much, more by its opening up to this one (face heights)
PROJECTED_SHARE = 0.5  # of targets shown by landmarks that the motion code gives, not by the true ones
LANDMARK_ERROR = (0.002, 0.001)  # crop widths: common to the points of a portrait, and of each point
NEXT = 2  # frames to the neighbour of a target; the cache holds every second frame


@dataclass(frozen=True)
class MouthBatch:
    """Patches in [-1,1]; landmarks in crop widths.

    warped, target [B,3,P,P]; landmarks [B,N,3] and motion [B,M] that the target shall show; patches [B,K,3,P,P],
    patch_landmarks [B,K,N,3], patch_motion [B,K,M]: references. neighbours: the second half of the batch shows the
    neighbouring frames of the first.
    """

    warped: Tensor
    target: Tensor
    landmarks: Tensor
    motion: Tensor
    patches: Tensor
    patch_landmarks: Tensor
    patch_motion: Tensor
    neighbours: bool = False

    def to(self, device: torch.device | str) -> MouthBatch:
        """The same batch on a device."""
        return replace(
            self, **{f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "neighbours"}
        )


class MouthSampler:
    """Draws targets with their references: a person by weight, a clip, frames of it and of the person's other clips.

    Random numbers are drawn on the CPU; patches are cut and warped on `device`.
    """

    def __init__(
        self, cache: FrameCache, labels: MotionLabels, stills: float = 0.3, device: torch.device | str = "cpu"
    ) -> None:
        self.cache, self.stills, self.device = cache, stills, torch.device(device)
        self.mirrored = mirror_index(labels.canonical)
        self.space: MotionSpace = label_space(labels, cache).to(device)
        self.labels = labels = labels.to(device)
        usable = [clip for clip, row in enumerate(cache.rows) if "NC" not in row.get("licence", "")]
        self.frames = {clip: cache.frames_of(clip) for clip in usable}
        self.clips = np.array([clip for clip, frames in self.frames.items() if len(frames) >= LEAST_FRAMES])
        self.opening = lip_opening(np.asarray(cache.landmarks))
        counts = np.array([len(self.frames[clip]) for clip in self.clips])
        people = np.array([cache.identity[self.frames[clip][0]] for clip in self.clips])
        weight = counts / np.bincount(people, counts)[people] ** 0.5
        self.weight = weight / weight.sum()
        self.clips_of: dict[int, list[int]] = {}
        for clip, person in zip(self.clips, people, strict=True):
            self.clips_of.setdefault(int(person), []).append(int(clip))
        self.still_numbers = np.flatnonzero(cache.clip < 0)
        self.prior = expression_prior(labels)

    def draw(self, count: int, references: int, seed: int, neighbours: bool = False) -> MouthBatch:
        """`count` targets with `references` references each; single ones are animated stills now and then."""
        rng = np.random.default_rng(seed)
        stills = int(rng.binomial(count, self.stills)) if references == 1 and not neighbours else 0
        chosen = [self._frames(rng, references, neighbours) for _ in range(count - stills)]
        targets = np.array([target for target, _ in chosen] + list(rng.choice(self.still_numbers, stills)), int)
        others = np.array([numbers for _, numbers in chosen] + [[number] for number in targets[count - stills :]], int)
        flipped = torch.from_numpy(rng.random(count) < 0.5).to(self.device)
        if neighbours:
            following = self._following(targets)
            targets, others, flipped = np.r_[targets, following], np.r_[others, others], flipped.repeat(2)
        return self._see(targets, others.reshape(len(targets), references), flipped, stills, rng, neighbours)

    def _frames(self, rng: np.random.Generator, references: int, neighbours: bool) -> tuple[int, np.ndarray]:
        """A target and its references, the portrait first."""
        clip = int(rng.choice(self.clips, p=self.weight))
        frames = self.frames[clip][:-1] if neighbours else self.frames[clip]
        weight = OPEN_WEIGHT + np.minimum(self.opening[frames] / WIDE, 1)
        target = int(rng.choice(frames, p=weight / weight.sum()))
        person = int(self.cache.identity[target])
        pool = np.concatenate([self.frames[other] for other in self.clips_of[person]])
        if rng.random() < FAR_SHARE:
            near = (self.cache.clip[pool] == clip) & (np.abs(self.cache.frame[pool] - self.cache.frame[target]) < APART)
            pool = pool[~near] if (~near).sum() >= references else pool
        pool = pool[pool != target]
        numbers = rng.choice(pool, references, replace=len(pool) < references)
        if rng.random() < SHUT_SHARE:  # a user's portrait: the mouth shut
            shut = pool[self.opening[pool] <= np.quantile(self.opening[pool], 0.2)]
            numbers[0] = rng.choice(shut)
        return target, numbers

    def _following(self, targets: np.ndarray) -> np.ndarray:
        """The neighbours of frames within their clips."""
        numbers = targets + 1
        same = (self.cache.clip[numbers] == self.cache.clip[targets]) & self.cache.good[numbers]
        return np.where(same & (self.cache.frame[numbers] - self.cache.frame[targets] <= NEXT), numbers, targets)

    def _see(
        self,
        targets: np.ndarray,
        others: np.ndarray,
        flipped: Tensor,
        stills: int,
        rng: np.random.Generator,
        neighbours: bool,
    ) -> MouthBatch:
        count, references = others.shape
        labelled = torch.arange(count, device=self.device) < count - stills
        neutral = self._neutrals(targets, flipped)
        pictures, landmarks = self._pictures(targets, flipped)
        many = flipped.repeat_interleave(references)
        other_pictures, other_landmarks = self._pictures(others.ravel(), many)
        codes = self._codes(landmarks, neutral, labelled)
        repeated = (neutral.repeat_interleave(references, 0), labelled.repeat_interleave(references))
        other_codes = self._codes(other_landmarks, *repeated)
        if stills:
            place = slice(count - stills, count)
            moving = rng.integers(0, max(1, count - stills), stills)
            change = (other_codes.unflatten(0, (count, -1))[:, 0] - codes)[moving]
            moved = self._animate(pictures[place], landmarks[place], codes[place], change)
            other_pictures[place], other_landmarks[place], other_codes[place] = moved
        common, single = LANDMARK_ERROR
        once = other_landmarks[: len(other_landmarks) // 2] if neighbours else other_landmarks
        error = common * torch.randn_like(once[:, :1]) + single * torch.randn_like(once)
        other_landmarks = other_landmarks + (error.repeat(2, 1, 1) if neighbours else error)
        first = [
            field.unflatten(0, (count, references))[:, 0] for field in (other_pictures, other_landmarks, other_codes)
        ]
        shown = landmarks
        projected = torch.from_numpy(rng.random(len(targets) // (2 if neighbours else 1)) < PROJECTED_SHARE)
        if projected.any():
            projected = (projected.repeat(2) if neighbours else projected).to(self.device)
            predicted = self.space.landmarks(first[1], first[2], codes)
            shown = torch.where(projected[:, None, None], predicted, landmarks)
        placement = place_patch(shown)
        flow = landmark_flow(first[1], shown, GRID, DecoderConfig.smoothing)
        patches = cut_patch(other_pictures, place_patch(other_landmarks))
        return MouthBatch(
            warp_patch(first[0], flow, placement),
            cut_patch(pictures, placement),
            shown,
            codes,
            patches.unflatten(0, (count, references)),
            other_landmarks.unflatten(0, (count, references)),
            other_codes.unflatten(0, (count, references)),
            neighbours,
        )

    def _pictures(self, numbers: np.ndarray, flipped: Tensor) -> tuple[Tensor, Tensor]:
        landmarks = torch.tensor(self.cache.landmarks[numbers], device=self.device)
        return mirror(to_tensor(self.cache.pictures(numbers, self.device)), landmarks, self.mirrored, flipped)

    def _neutrals(self, targets: np.ndarray, flipped: Tensor) -> Tensor:
        clips = self.cache.clip[targets]
        names = [self.cache.rows[clip]["identity"] if clip >= 0 else None for clip in clips]
        canonical = self.labels.canonical
        neutral = torch.stack([canonical if name is None else self.labels.neutrals[name] for name in names])
        opposite = (neutral * neutral.new_tensor([-1.0, 1.0, 1.0]))[:, self.mirrored]
        return torch.where(flipped[:, None, None], opposite, neutral)

    def _codes(self, landmarks: Tensor, neutral: Tensor, labelled: Tensor) -> Tensor:
        shape, pose = align(landmarks, self.labels.canonical)
        known = expression_codes(shape, neutral, self.labels)
        return torch.cat([pose, torch.where(labelled[:, None], known, self.prior(shape))], 1)

    def _animate(
        self, pictures: Tensor, landmarks: Tensor, codes: Tensor, change: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Portraits for stills: the stills themselves, moved by a change of code that does not open their mouths."""
        change = change.clone()
        opened = lip_opening(self.space.landmarks(landmarks, codes, codes + change)) > lip_opening(landmarks) + 0.01
        change[:, 6:] *= (~opened).float()[:, None]
        moved = self.space.landmarks(landmarks, codes, codes + change)
        flow = resize(landmark_flow(landmarks, moved, GRID, DecoderConfig.smoothing), pictures.shape[-2:])
        return warp(pictures, flow), moved, codes + change
