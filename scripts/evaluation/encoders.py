"""Scores of an image encoder, from a run folder of `train_motion_space --stage codes`.

Letters: n frames, S stages, D width of a stage's code.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from anitalker.config import POSE_SIZE, MotionSpaceConfig, from_dict
from anitalker.faces.landmarks import eye_opening, lip_opening
from anitalker.motion.motion_space import MotionSpace, upright
from encoders.image import to_tensor
from scripts.evaluation.metrics import bootstrap, interval, r2
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.losses import landmark_loss

PER_CLIP = 24  # frames of a clip of val that are read, at most
OF_TRAIN = 6, 2  # of a clip of train; clips of a person of train
RIDGE = 1e-1
TIMED = 5  # pictures, one by one, of which the quickest counts


@dataclass(frozen=True)
class Reading:
    """Frames of one clip: motion [n,20], stage codes [n,S,D], and what is to be read of them by name, [n,k]."""

    motion: np.ndarray
    stages: np.ndarray
    targets: dict[str, np.ndarray]
    driven: float


def score_encoder(folder: Path, cache_dir: str) -> dict:
    """Driven landmarks, linear probes from the motion code and from every stage alone, time and size."""
    config = from_dict(MotionSpaceConfig, json.loads((folder / "config.json").read_text())["motion_space"])
    space = MotionSpace(config)
    tensors = load_file(folder / "weights.safetensors")
    prefix = "motion_space."
    space.load_state_dict({key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)})
    space.eval().requires_grad_(False)
    labels = MotionLabels.load(Path(cache_dir) / "labels.npz")
    known = readings(space, FrameCache(cache_dir, "train"), labels, *OF_TRAIN)
    asked = readings(space, FrameCache(cache_dir, "val"), labels, PER_CLIP)
    driven = [one.driven for one in asked]
    weights = space.hal.weights().tolist()
    stages = [
        {"stride": stride, "weight": weights[n], **probes(known, asked, lambda one, n=n: one.stages[:, n])}
        for n, stride in enumerate(space.encoder.strides)
    ]
    return {
        "landmark": {"mean": float(np.mean(driven)), "interval": interval(driven), "clips": driven},
        **probes(known, asked, lambda one: one.motion),
        "stages": stages,
        "milliseconds": milliseconds(space),
        "parameters": sum(p.numel() for p in space.encoder.parameters()) / 1e6,
    }


@torch.no_grad()
def readings(
    space: MotionSpace, cache: FrameCache, labels: MotionLabels, per_clip: int, clips: int | None = None
) -> list[Reading]:
    """`per_clip` good frames of every clip at most, evenly; of the first `clips` clips of a person (None: all)."""
    found, taken = [], Counter()
    for number, row in enumerate(cache.rows):
        mine = np.flatnonzero((cache.clip == number) & cache.good)
        if len(mine) < 2 or (clips is not None and taken[row["identity"]] >= clips):
            continue
        taken[row["identity"]] += 1
        mine = mine[np.unique(np.linspace(0, len(mine) - 1, per_clip).astype(int))]
        pictures, marks = to_tensor(cache.pictures(mine)), torch.tensor(cache.landmarks[mine])
        parts = [_read(space, part) for part in pictures.split(8)]
        motion, stages = (torch.cat([part[side] for part in parts]) for side in (0, 1))
        driven = space.landmarks(marks[:1].expand_as(marks), motion[:1].expand_as(motion), motion)
        off = landmark_loss(driven[1:], marks[1:], torch.ones(marks.shape[1])).mean()
        targets = {
            "pose": labels.codes(cache.landmarks[mine], row["identity"]).numpy()[:, :POSE_SIZE],
            "lips": lip_opening(marks).numpy()[:, None],
            "eyes": eye_opening(marks).numpy()[:, None],
        }
        found.append(Reading(motion.numpy(), stages.numpy(), targets, float(off)))
    return found


def _read(space: MotionSpace, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Motion [n,20] in the frame of the pictures, and stage codes [n,S,D] of the second look."""
    seen = upright(space.look(pictures).motion).pictures(pictures)
    return space(pictures).motion, space.hal.stages(space.encoder(seen))


def probes(known: list[Reading], asked: list[Reading], code: Callable[[Reading], np.ndarray]) -> dict[str, dict]:
    """R2 of pose, lip and eye opening read by ridge regression from a code; intervals over clips."""
    x = np.concatenate([code(one) for one in known]).astype(np.float64)
    mean, spread = x.mean(0), x.std(0) + 1e-8

    def design(one: Reading) -> np.ndarray:
        return np.concatenate([(code(one) - mean) / spread, np.ones((len(one.motion), 1))], 1)

    own = np.concatenate([design(one) for one in known])
    inverse = np.linalg.inv(own.T @ own + RIDGE * len(own) * np.eye(own.shape[1])) @ own.T

    def statistic(chosen: list) -> float:
        made, true = (np.concatenate(side) for side in zip(*chosen, strict=True))
        return float(r2(made, true).mean())

    scores = {}
    for name in ("pose", "lips", "eyes"):
        weights = inverse @ np.concatenate([one.targets[name] for one in known])
        clips = [(design(one) @ weights, one.targets[name]) for one in asked]
        scores[name] = {"mean": statistic(clips), "interval": bootstrap(clips, statistic)}
    return scores


@torch.no_grad()
def milliseconds(space: MotionSpace) -> float:
    """Of one look at one picture, the quickest of TIMED."""
    picture, times = torch.zeros(1, 3, 256, 256), []
    for _ in range(TIMED):
        started = time.perf_counter()
        space.look(picture)
        times.append(time.perf_counter() - started)
    return 1000 * min(times)
