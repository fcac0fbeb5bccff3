"""Training windows for the original's motion generator: motion codes, cepstra, control signals.

Letters: B windows, n frames each, T frames of a clip, M = 20 motion numbers, A numbers of an appearance code.

`scripts.extract_features --stage1 FILE` stores what a stage one reads from every frame, which is what the published
stage two moves: `motion` [T,M] and `appearance` [one a second,A]. Without it the codes are those of the landmark
labels, scaled into -1..1 (`Scale`): no stage one draws them, but recipes can be studied on them.
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
    """Label codes [T,20] of one person -> motion within -1..1: pose relative to a portrait, in REACH deviations."""

    mean: np.ndarray
    std: np.ndarray

    def __call__(self, codes: np.ndarray, portrait: np.ndarray) -> np.ndarray:
        """Codes [T,20] beside the portrait's code [20]."""
        neutral = np.concatenate([portrait[:POSE_SIZE], self.mean[POSE_SIZE:]])
        return ((codes - neutral) / (REACH * self.std)).clip(-1, 1).astype(np.float32)


@dataclass(frozen=True)
class DenoiserClip:
    """One clip. motion [T,M] in -1..1 or None where labels are scaled; appearance [K,A] or None; signals [T,5]."""

    clip: MotionClip
    motion: np.ndarray | None
    appearance: np.ndarray | None
    signals: np.ndarray


def load_denoiser_clips(folder: str | Path, clips: list[MotionClip]) -> list[DenoiserClip]:
    """What of clips the original's generator learns from; InputError where the folder is too old, or mixed."""
    loaded = []
    for clip in clips:
        stored = {k: tensor.numpy() for k, tensor in load_file(Path(folder) / f"{clip.row['id']}.safetensors").items()}
        if "signals" not in stored:
            raise InputError(f"{folder} has no control signals; run python -m scripts.extract_features once more")
        loaded.append(DenoiserClip(clip, stored.get("motion"), stored.get("appearance"), stored["signals"]))
    if len({clip.motion is None for clip in loaded}) > 1:
        raise InputError(f"in {folder} only some clips have codes of a stage one; extract all of them with --stage1")
    return loaded


class Windows:
    """Draws batches of windows of clips whose speaker is seen; a seed repeats them."""

    def __init__(self, clips: list[DenoiserClip], scale: Scale, start_size: int) -> None:
        self.clips = [clip for clip in clips if clip.clip.speaks and len(clip.clip.codes) >= WINDOWS[0]]
        if not self.clips:
            raise InputError(f"no clip of {WINDOWS[0]} frames or more shows its speaker; give more data")
        self.lengths = np.array([len(clip.clip.codes) for clip in self.clips])
        self.weights = np.array([clip.clip.weight for clip in self.clips]) * self.lengths**0.5
        self.scale, self.start_size = scale, start_size

    def batch(self, size: int, seed: int | list[int]) -> dict[str, Tensor]:
        """motion [B,n,M], portrait [B,M], appearance [B,A], sound [B,4n,39], signals [B,n,5], good [B,n]."""
        rng = np.random.default_rng(seed)
        n = int(rng.integers(WINDOWS[0], WINDOWS[1] + 1))
        long_enough = self.lengths >= n
        if not long_enough.any():
            long_enough[:] = True
            n = int(self.lengths.min())
        weights = self.weights * long_enough
        chosen = rng.choice(len(self.clips), size, p=weights / weights.sum())
        windows = [self._window(self.clips[i], n, rng) for i in chosen]
        return {name: torch.from_numpy(np.stack([window[name] for window in windows])) for name in windows[0]}

    def _window(self, clip: DenoiserClip, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        first = int(rng.integers(0, len(clip.clip.codes) - n + 1))
        frames = slice(first, first + n)
        motion, portrait = self._motion(clip, frames)
        sound = clip.clip.sound[first * SAMPLES_PER_FRAME : (first + n) * SAMPLES_PER_FRAME]
        sound = sound * 10 ** (rng.uniform(-10, 6) / 20) + rng.standard_normal(len(sound)) * 10 ** rng.uniform(-5, -3)
        return {
            "motion": motion,
            "portrait": portrait,
            "appearance": self._appearance(clip, first),
            "sound": cepstra(sound.astype(np.float32), n),
            "signals": clip.signals[frames],
            "good": clip.clip.good[frames].astype(np.float32),
        }

    def _motion(self, clip: DenoiserClip, frames: slice) -> tuple[np.ndarray, np.ndarray]:
        """Motion of frames [n,M], and of the first, which is the portrait [M]."""
        if clip.motion is None:
            codes = clip.clip.codes[frames]
            motion = self.scale(codes, codes[0])
        else:
            motion = clip.motion[frames].clip(-1, 1)
        return motion, motion[0]

    def _appearance(self, clip: DenoiserClip, frame: int) -> np.ndarray:
        """The code of a frame's second [A]; nothing where only labels are known."""
        if clip.appearance is None:
            return np.zeros(self.start_size, np.float32)
        return clip.appearance[min(frame // FPS, len(clip.appearance) - 1)].astype(np.float32)


def cepstra(sound: np.ndarray, frames: int) -> np.ndarray:
    """Samples [N] -> [4 frames,39], the last one repeated."""
    features = mfcc.features(torch.from_numpy(sound)).numpy()[: 4 * frames]
    return np.pad(features, ((0, 4 * frames - len(features)), (0, 0)), mode="edge")
