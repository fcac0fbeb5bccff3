"""What the codes of the training clips mean: their spread, what speech decides of them, and the course of a blink."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import eye_opening
from scripts.training.motion_data import MotionClip


@dataclass(frozen=True)
class Space:
    """What the codes mean, measured on the training clips.

    directions [14,468,3]; mean, std [20] of motion relative to a portrait; opening [14], linear readout of the lip
    opening; spoken [20,20], projection of codes onto what speech decides; spoken_normalised, for normalised motion.
    """

    directions: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    opening: np.ndarray
    spoken: np.ndarray
    spoken_normalised: np.ndarray


def measure(folder: str | Path, clips: list[MotionClip]) -> Space:
    """Statistics of the training clips."""
    directions = load_file(Path(folder) / "space.safetensors")["directions"].numpy()
    rng = np.random.default_rng(0)
    weight = np.concatenate([clip.weight / 4 * clip.good for clip in clips])[:, None]
    relative = [clip.codes[:, :POSE_SIZE] - clip.codes[rng.integers(len(clip.codes)), :POSE_SIZE] for clip in clips]
    pose = np.sqrt((np.concatenate(relative) ** 2 * weight).sum(0) / weight.sum())
    expression = np.concatenate([clip.codes[:, POSE_SIZE:] for clip in clips])
    mean = (expression * weight).sum(0) / weight.sum()
    spread = np.sqrt(((expression - mean) ** 2 * weight).sum(0) / weight.sum())
    centred = np.concatenate([clip.codes[:, POSE_SIZE:] - clip.codes[:, POSE_SIZE:].mean(0) for clip in clips])
    lips = np.concatenate([clip.lips - clip.lips.mean() for clip in clips])
    eyes = np.concatenate([clip.eyes - clip.eyes.mean() for clip in clips])
    gram = centred.T @ (centred * weight)
    opening = np.linalg.solve(gram + 1e-3 * np.trace(gram) / 14 * np.eye(14), centred.T @ (lips * weight[:, 0]))
    # How lids move together, without what would open the lips.
    lids = centred.T @ (eyes * weight[:, 0])
    lids = lids - opening * (opening @ lids) / (opening @ opening)
    mean, std = np.concatenate([np.zeros(POSE_SIZE), mean]), np.concatenate([pose, spread])
    return Space(directions, mean, std, opening, _all_but(lids), _all_but(lids / spread))


def blink_course(clips: list[MotionClip], directions: np.ndarray, before: int = 5, after: int = 8) -> np.ndarray:
    """The median course of a blink [before + 1 + after,20], scaled until it all but closes the mean face's eyes.

    A blink: at most 9 frames under two thirds of the clip's usual lid opening. Labels at 25 fps seldom catch the lids
    shut. Empty where the clips show fewer than 8.
    """
    courses = []
    for clip in (clip for clip in clips if clip.row["generated"] == "no"):
        shut = clip.eyes < np.median(clip.eyes) / 1.5
        edges = np.flatnonzero(np.diff(np.pad(shut.astype(int), 1)))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            deepest = begin + int(np.argmin(clip.eyes[begin:end]))
            if end - begin <= 9 and deepest >= before and deepest + after < len(clip.codes):
                course = clip.codes[deepest - before : deepest + after + 1]
                ramp = np.linspace(0, 1, len(course))[:, None]
                courses.append(course - course[0] - ramp * (course[-1] - course[0]))
    if len(courses) < 8:
        return np.zeros((0, 20))
    course = np.median(courses, 0)
    course[:, :POSE_SIZE] = 0
    face = np.mean([clip.neutral for clip in clips], 0)
    deepest = np.einsum("k,knc->nc", course[before, POSE_SIZE:], directions)
    strengths = np.linspace(1, 4, 61)
    left = [float(eye_opening(face + strength * deepest)) for strength in strengths]
    return course * strengths[int(np.argmin(left))]


def _all_but(direction: np.ndarray) -> np.ndarray:
    """Projection [20,20] onto the expression numbers but for one direction [14]."""
    unit = direction / np.linalg.norm(direction)
    projection = np.zeros((POSE_SIZE + len(unit),) * 2)
    projection[POSE_SIZE:, POSE_SIZE:] = np.eye(len(unit)) - np.outer(unit, unit)
    return projection
