"""Training windows for the original's motion generator: motion codes, cepstra, control signals.

Letters: B windows, n frames each, T frames of a clip, M = 20 motion numbers, A numbers of an appearance code.

`scripts.extract_features --stage1 FILE` stores what a stage one reads from every frame, which is what the published
stage two moves: `motion` [T,M] and `appearance` [one a second,A]. Without it the codes are those of the landmark
labels, scaled into -1..1 (`Scale`): no stage one draws them, but samplers and recipes can be studied on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, InputError
from encoders import mfcc
from encoders.audio import SAMPLES_PER_FRAME
from scripts.training.motion_data import MotionClip

WINDOWS = (50, 125)  # frames of a window, least and most
REACH = 3.0  # deviations of a label code that become 1
SIGNALS = {"location": slice(0, 1), "scale": slice(1, 2), "pose": slice(2, 5)}  # columns of what is stored


@dataclass(frozen=True)
class Scale:
    """Label codes [T,20] of one person <-> motion within -1..1: pose relative to a portrait, in REACH deviations."""

    mean: np.ndarray
    std: np.ndarray

    def shrink(self, codes: np.ndarray, portrait: np.ndarray) -> np.ndarray:
        """Codes [T,20] beside the portrait's code [20]."""
        return ((codes - self._still(portrait)) / (REACH * self.std)).clip(-1, 1).astype(np.float32)

    def stretch(self, motion: Tensor, portrait: np.ndarray) -> Tensor:
        """The inverse, motion [T,20]."""
        return motion * torch.from_numpy(REACH * self.std).float() + torch.from_numpy(self._still(portrait)).float()

    def _still(self, portrait: np.ndarray) -> np.ndarray:
        return np.concatenate([portrait[:POSE_SIZE], self.mean[POSE_SIZE:]])


@dataclass(frozen=True)
class Course:
    """One clip. motion [T,M] in -1..1 or None where labels are scaled; appearance [K,A] or None; signals [T,5]."""

    clip: MotionClip
    motion: np.ndarray | None
    appearance: np.ndarray | None
    signals: np.ndarray


def load_courses(folder: str | Path, clips: list[MotionClip]) -> list[Course]:
    """What of clips the original's generator learns from; InputError where the folder is too old, or mixed."""
    found = []
    for clip in clips:
        stored = load_file(Path(folder) / f"{clip.row['id']}.safetensors")
        if "signals" not in stored:
            raise InputError(f"{folder} has no control signals; run python -m scripts.extract_features once more")
        motion, appearance = (stored[name].numpy() if name in stored else None for name in ("motion", "appearance"))
        found.append(Course(clip, motion, appearance, stored["signals"].numpy()))
    if len({course.motion is None for course in found}) > 1:
        raise InputError(f"in {folder} only some clips have codes of a stage one; extract all of them with --stage1")
    return found


class Windows:
    """Draws batches of windows of clips whose speaker is seen; a seed repeats them."""

    def __init__(self, courses: list[Course], scale: Scale, start_size: int) -> None:
        self.courses = [course for course in courses if course.clip.speaks and len(course.clip.codes) >= WINDOWS[0]]
        if not self.courses:
            raise InputError(f"no clip of {WINDOWS[0]} frames or more shows its speaker; give more data")
        self.scale, self.start_size = scale, start_size

    def batch(self, size: int, seed: int | list[int]) -> dict[str, Tensor]:
        """motion [B,n,M], portrait [B,M], appearance [B,A], sound [B,4n,39], signals [B,n,5], good [B,n]."""
        rng = np.random.default_rng(seed)
        n = int(rng.integers(WINDOWS[0], WINDOWS[1] + 1))
        able = [course for course in self.courses if len(course.clip.codes) >= n]
        if not able:
            able = self.courses
            n = min(len(course.clip.codes) for course in able)
        shares = np.array([course.clip.weight * len(course.clip.codes) ** 0.5 for course in able])
        drawn = [able[i] for i in rng.choice(len(able), size, p=shares / shares.sum())]
        parts = [self._window(course, n, rng) for course in drawn]
        return {name: torch.from_numpy(np.stack([part[name] for part in parts])) for name in parts[0]}

    def _window(self, course: Course, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        clip = course.clip
        first = int(rng.integers(0, len(clip.codes) - n + 1))
        motion, portrait = self.motion(course, first, slice(first, first + n))
        sound = clip.sound[first * SAMPLES_PER_FRAME : (first + n) * SAMPLES_PER_FRAME]
        sound = sound * 10 ** (rng.uniform(-10, 6) / 20) + rng.standard_normal(len(sound)) * 10 ** rng.uniform(-5, -3)
        return {
            "motion": motion,
            "portrait": portrait,
            "appearance": self.appearance(course, first),
            "sound": cepstra(sound.astype(np.float32), n),
            "signals": course.signals[first : first + n],
            "good": clip.good[first : first + n].astype(np.float32),
        }

    def motion(self, course: Course, portrait: int, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Motion of a part [n,M] and of the frame that is the portrait [M]."""
        if course.motion is not None:
            return course.motion[part].clip(-1, 1), course.motion[portrait].clip(-1, 1)
        still = course.clip.codes[portrait]
        made = self.scale.shrink(course.clip.codes[part], still)
        return made, self.scale.shrink(still[None], still)[0]

    def appearance(self, course: Course, frame: int) -> np.ndarray:
        """The code of a frame's second [A]; nothing where only labels are known."""
        if course.appearance is None:
            return np.zeros(self.start_size, np.float32)
        return course.appearance[min(frame // FPS, len(course.appearance) - 1)].astype(np.float32)


def cepstra(sound: np.ndarray, frames: int) -> np.ndarray:
    """Samples [N] -> [4 frames,39], the last one repeated."""
    made = mfcc.features(torch.from_numpy(sound)).numpy()[: 4 * frames]
    return np.concatenate([made, made[-1:].repeat(4 * frames - len(made), 0)])
