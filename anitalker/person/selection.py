"""Which frames of a person's videos serve as portrait and as references of the mouth.

Letters: n frames, N = 468 landmarks, M = 20 motion numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from anitalker.dubbing.references import sharpness
from anitalker.faces.landmarks import face_height
from anitalker.models.base import ProgressCallback
from anitalker.person.takes import Take, crops_of, openings

MAX_FRAMES = 400  # that are looked at closely, spread over all videos
TAIL_SHARE = 0.2  # of them, the last, are not learned from: they judge
REFERENCES = 7  # beside the portrait, which is one, too
# Differences that count alike: lip opening and width (face heights), yaw and pitch (radians).
SPREADS = np.array([0.025, 0.025, 0.15, 0.15])
BLURRED = 0.35  # quantile of sharpness below which a frame is no reference
EXTREME = 0.97  # quantile of opening and turn above which a frame is no reference: often a wrong landmark
FRONTAL, SHUT, CALM, OPEN_EYES = 0.12, 0.012, 0.04, 0.12  # radians, face heights, code, share of the usual eye opening
LIP_CORNERS = (61, 291)


@dataclass(frozen=True)
class Frames:
    """Frames of all takes, in the order of time: take [n] and number [n] of each; crops uint8 [n,256,256,3]; landmarks
    [n,N,3] in crop widths; motion [n,M]; lips [n] and eyes [n]: openings; sharp [n]: sharpness about the lips;
    tail [n] bool: held out."""

    take: np.ndarray
    number: np.ndarray
    crops: np.ndarray
    landmarks: np.ndarray
    motion: np.ndarray
    lips: np.ndarray
    eyes: np.ndarray
    sharp: np.ndarray
    tail: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.number)


def pick_frames(takes: Sequence[Take], progress: ProgressCallback | None = None) -> Frames:
    """At most MAX_FRAMES free frames whose codes were read, evenly over all takes."""
    total = sum(int(take.coded.sum()) for take in takes)
    rows: list[Frames] = []
    for index, take in enumerate(takes):
        coded = np.flatnonzero(take.coded)
        if not len(coded):
            continue
        count = min(len(coded), max(1, round(MAX_FRAMES * len(coded) / total)))
        numbers = coded[np.linspace(0, len(coded) - 1, count).round().astype(int)]
        crops, points = crops_of(take, numbers), take.points(numbers)
        lips, eyes = (values[numbers] for values in openings(take))
        sharp = np.array([sharpness(crop, face) for crop, face in zip(crops, points, strict=True)])
        rows.append(Frames(np.full(count, index), numbers, crops, points, take.motion[numbers], lips, eyes, sharp))
        if progress:
            progress("pictures", index + 1, len(takes))
    names = [known.name for known in fields(Frames) if known.name != "tail"]
    joined = Frames(**{name: np.concatenate([getattr(row, name) for row in rows]) for name in names})
    return replace(joined, tail=np.arange(len(joined)) >= round((1 - TAIL_SHARE) * len(joined)))


def choose_portrait(frames: Frames) -> int:
    """The frame, none of the tail, that is most frontal, neutral, sharp and open-eyed.

    The least sum of squares of turn / FRONTAL, opening / SHUT, expression / CALM, and missing eye opening / OPEN_EYES;
    a standard deviation of sharpness counts as one.
    """
    usual = np.median(frames.eyes)
    cost = (frames.motion[:, :2] / FRONTAL) ** 2
    cost = cost.sum(1) + (frames.lips / SHUT) ** 2 + (np.abs(frames.motion[:, 6:]).max(1) / CALM) ** 2
    cost = cost + (np.clip(1 - frames.eyes / usual, 0, None) / OPEN_EYES) ** 2
    cost = cost - (frames.sharp - frames.sharp.mean()) / (frames.sharp.std() + 1e-9)
    return int(np.where(frames.tail, np.inf, cost).argmin())


def choose_references(frames: Frames, portrait: int | None, count: int = REFERENCES) -> np.ndarray:
    """Frames that cover what the mouth does: openings, widths and head turns, each as far as can be from the others.

    Farthest point sampling (Gonzalez 1985) from the portrait on, among sharp frames that are not of the tail. The first
    is the most open one: it shows the teeth.
    """
    corners = frames.landmarks[:, LIP_CORNERS, :2]
    width = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1) / face_height(frames.landmarks)
    traits = np.column_stack([frames.lips, width, frames.motion[:, :2]]) / SPREADS
    learned = ~frames.tail
    turn = np.abs(frames.motion[:, :2]).max(1)
    usable = learned & (frames.sharp >= np.quantile(frames.sharp[learned], BLURRED))
    usable &= frames.lips <= np.quantile(frames.lips[learned], EXTREME)
    usable &= turn <= np.quantile(turn[learned], EXTREME)
    candidates = np.flatnonzero(usable)
    chosen = [int(candidates[frames.lips[candidates].argmax()])]
    known = [traits[chosen[0]]] + ([] if portrait is None else [traits[portrait]])
    while len(chosen) < min(count, len(candidates)):
        distance = np.min([np.linalg.norm(traits[candidates] - row, axis=1) for row in known], 0)
        chosen.append(int(candidates[distance.argmax()]))
        known.append(traits[chosen[-1]])
    return np.array(chosen)
