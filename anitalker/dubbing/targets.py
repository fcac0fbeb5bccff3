"""Where speech, or another face, takes a filmed face: landmarks as filmed, and as they shall be.

Letters: n frames, N = 468 landmarks, M = 20 motion numbers, K = M - 6 of expression.

Every frame is its own portrait. Its face without expression is estimated as for a portrait (`MotionSpace.neutral`) and
averaged over a second, since one frame's estimate trembles; speech's lips are put on it in the frame's own head pose.
Speech moves only what lies below the nose; a face that is followed may move the whole expression, and the head. All
moves only as far as a weight says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE, DubOptions
from anitalker.dubbing.tracks import CODE_SECONDS, Track
from anitalker.faces.landmarks import LIPS, fit_pose, from_canonical, level_depth, to_canonical
from anitalker.models.base import DubbingModel
from anitalker.runtime.smoothstep import smoothstep

NEUTRAL_SECONDS = 0.3  # standard deviation of the average of neutral faces
SHAPE_SECONDS = 0.04  # of the filmed face's shape, which noise of the landmarks shakes
SHAPE_NOISE = 0.004  # face heights: frames whose lips differ by more hardly count, or fast lips would be smoothed away
WHOLE_FACE = ("expression", "all")  # of what a face can follow: more moves than what lies below the nose
REACH = 3.0  # standard deviations that an average extends over
EASE_SECONDS = 0.2  # in which lips leave the filmed ones where a line begins, or the face comes back
COVER_SECONDS = 0.5  # a cover counts where it is noticed in a third of the frames of so long a time
NOSE_BASE, UPPER_LIP = 2, 0  # landmarks: above the first nothing moves, from the second on everything


@dataclass(frozen=True)
class Filmed:
    """Frames of a track as filmed: landmarks and, from the average neutral face, the same without expression, both
    [n,N,3] in widths of each frame's crop; motion codes [n,M]; place [n,3] of the crops."""

    landmarks: Tensor
    neutral: Tensor
    motion: Tensor
    place: np.ndarray

    def __getitem__(self, frames: np.ndarray) -> Filmed:
        """Some of the frames, by their numbers."""
        rows = torch.from_numpy(frames)
        return Filmed(self.landmarks[rows], self.neutral[rows], self.motion[rows], self.place[frames])


class FaceTargets:
    """Reads the filmed frames of one track, and says where its lips go, or the whole face.

    lips: how far they leave the filmed ones, 1 is all the way; fps: of the video; follow: as in DubOptions.
    """

    def __init__(
        self, model: DubbingModel, track: Track, fps: float, lips: float = 1.0, follow: str = DubOptions.follow
    ) -> None:
        self.space, self.track, self.fps, self.follow = model.space, track, fps, follow
        self.canonical = self.space.canonical
        heights, subspaces = self.canonical[:, 1], model.subspaces
        self.projection = lips * subspaces.lips
        if follow in WHOLE_FACE:
            self.projection = self.projection + subspaces.eyes
            self.share = torch.ones_like(heights)[:, None]
        else:
            self.share = smoothstep(heights, float(heights[NOSE_BASE]), float(heights[UPPER_LIP]))[:, None]
        if follow == "all":
            self.projection = self.projection + subspaces.pose
        self.device = model.device
        flags = (torch.tensor(list(bits), dtype=torch.bool, device=self.device) for bits in (track.seen, track.coded))
        self.seen, self.coded = flags

    @torch.inference_mode()
    def filmed(self, start: int, stop: int) -> Filmed:
        """The track's frames start ... stop - 1."""
        margin = round(REACH * NEUTRAL_SECONDS * self.fps)
        first, last = max(start - margin, 0), min(stop + margin, len(self.track))
        place, *numbers = self.track.read(first, last)
        landmarks, expression = (torch.tensor(values, device=self.device) for values in numbers)
        seen, coded, inner = self.seen[first:last], self.coded[first:last], slice(start - first, stop - first)
        pose = landmarks.new_zeros(len(landmarks), POSE_SIZE)
        pose[seen] = fit_pose(landmarks[seen], self.canonical)
        neutral = torch.zeros_like(landmarks)
        neutral[coded] = self.space.neutral(landmarks[coded], torch.cat([pose, expression], 1)[coded])
        shape = to_canonical(level_depth(landmarks, pose, self.canonical), pose)
        neutral = average(neutral, coded, NEUTRAL_SECONDS * self.fps, inner)
        calm = average(shape, seen, SHAPE_SECONDS * self.fps, inner, alike(shape[:, list(LIPS), :2], inner))
        expression = average(expression, coded, CODE_SECONDS * self.fps, inner)
        landmarks, pose = landmarks[inner], pose[inner]
        landmarks = landmarks + from_canonical(calm, pose) - from_canonical(shape[inner], pose)
        return Filmed(landmarks, from_canonical(neutral, pose), torch.cat([pose, expression], 1), place[inner])

    @torch.inference_mode()
    def wanted(self, filmed: Filmed, motion: Tensor, weight: np.ndarray) -> tuple[Tensor, Tensor]:
        """Landmarks [n,N,3] and motion codes [n,M] of filmed frames that shall show the lips, or more, of motion codes
        [n,M]. Their pose is added to the filmed one, if the head moves at all.

        weight [n]: how much of the way the face goes; 0 keeps the filmed one.
        """
        own, part = filmed.motion, torch.tensor(weight, dtype=torch.float32, device=self.device)[:, None]
        pose, expression = own.split([POSE_SIZE, own.shape[1] - POSE_SIZE], 1)
        rest = torch.cat([pose, torch.zeros_like(expression)], 1)
        codes = own + (motion.to(own) - (own - rest)) @ self.projection
        landmarks = self.space.landmarks(filmed.neutral, rest, codes)
        change = part[..., None] * self.share * (landmarks - filmed.landmarks)
        return filmed.landmarks + change, own + part * (codes - own)


def average(values: Tensor, seen: Tensor, deviation: float, inner: slice, likeness: Tensor | None = None) -> Tensor:
    """Gaussian averages [n,...] about the frames `inner` of values [m,...], over those that are seen, bool [m].

    likeness [n,m]: a further weight; see `alike`.
    """
    frames = torch.arange(len(values), dtype=torch.float32, device=values.device)
    distance = (frames[inner, None] - frames) / max(deviation, 1e-6)
    weight = torch.exp(-0.5 * distance.square()) * (distance.abs() <= REACH) * seen
    if likeness is not None:
        weight = weight * likeness
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
    return (weight @ values.flatten(1)).unflatten(1, values.shape[1:])


def alike(lips: Tensor, inner: slice) -> Tensor:
    """How alike lips [m,P,2] in face heights are to those of the frames `inner`: [n,m], 1 for the same ones.

    With it `average` is a bilateral filter over time (Tomasi and Manduchi 1998, eq. 5): it calms lips at rest and keeps
    fast ones.
    """
    difference = torch.cdist(lips[inner].flatten(1), lips.flatten(1)) / lips.shape[1] ** 0.5
    return torch.exp(-0.5 * (difference / SHAPE_NOISE).square())


def lip_weights(track: Track, fps: float) -> np.ndarray:
    """How much of the way the lips of each frame of a track may go: float [n], 0 where they cannot be changed."""
    covered = np.frombuffer(bytes(track.covered), bool)
    width = 2 * round(COVER_SECONDS / 2 * fps) + 1
    counts = np.convolve(np.pad(covered.astype(int), width // 2), np.ones(width, int), "valid")
    return eased(track.free() & ~(counts > width / 3), fps)


def eased(free: np.ndarray, fps: float) -> np.ndarray:
    """Weights float [n]: 0 where not free, bool [n], and up to 1 within EASE_SECONDS of that; no easing at the ends."""
    frames, blocked = np.arange(len(free)), np.flatnonzero(~free)
    if not len(blocked):
        return np.ones(len(free))
    after = np.searchsorted(blocked, frames)
    to_left = np.where(after > 0, frames - blocked[np.maximum(after - 1, 0)], len(free))
    to_right = np.where(after < len(blocked), blocked[np.minimum(after, len(blocked) - 1)] - frames, len(free))
    return np.where(free, smoothstep(np.minimum(to_left, to_right) / (EASE_SECONDS * fps)), 0.0)
