"""What differs from person to person and cannot be heard: where lips rest, how far they move. Clips are made alike."""

from __future__ import annotations

import numpy as np

from anitalker.config import POSE_SIZE
from scripts.training.motion_data import MotionClip

SHUT = 0.01  # face heights: labels of lips that touch lie about so far apart


def true_level(clips: list[MotionClip], opening: np.ndarray) -> None:
    """Shift the codes of every clip so that the mean opening that they make is that of the labels, less SHUT, in place.

    The neutral face of a short clip is a guess, but how far lips are apart is measured. opening [14]: what each
    expression number does to the lip opening, in face heights.
    """
    along = opening / (opening @ opening)
    for clip in clips:
        excess = float(clip.lips.mean()) - SHUT - float((clip.codes[:, POSE_SIZE:] @ opening).mean())
        clip.codes = clip.codes.copy()
        clip.codes[:, POSE_SIZE:] += (excess * along).astype(np.float32)


def even_spread(clips: list[MotionClip], spoken: np.ndarray, opening: np.ndarray, power: float = 0.7) -> None:
    """Scale what speech moves in every person's clips towards the spread of the median person, in place.

    Some mumble, some declaim, which no sound tells. Lips that are shut stay shut: their opening is scaled about zero,
    all else about its mean. spoken [20,20]: projection onto what speech decides; opening [14] as for `true_level`;
    power: 0 changes nothing, 1 makes all alike. Factors stay within 0.5 .. 2.
    """
    people: dict[str, list[MotionClip]] = {}
    for clip in clips:
        people.setdefault(clip.row["identity"], []).append(clip)
    spreads = {
        name: float(np.concatenate([clip.lips - clip.lips.mean() for clip in group]).std())
        for name, group in people.items()
    }
    usual = float(np.median(list(spreads.values())))
    along = opening / (opening @ opening)
    for name, group in people.items():
        factor = float(np.clip((usual / max(spreads[name], 1e-4)) ** power, 0.5, 2))
        for clip in group:
            mean = clip.codes.mean(0)
            level = (factor - 1) * float(mean[POSE_SIZE:] @ opening)
            clip.codes = clip.codes + ((factor - 1) * (clip.codes - mean) @ spoken).astype(np.float32)
            clip.codes[:, POSE_SIZE:] += (level * along).astype(np.float32)
            clip.lips = (factor * clip.lips).astype(np.float32)
