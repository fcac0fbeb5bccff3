"""What scores of several studies share: networks of a run, frames of clips, ridge regression from codes, time."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import from_dict
from encoders.image import to_tensor
from scripts.evaluation.metrics import bootstrap, interval, r2
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module

TIMED = 7  # calls, of which the quickest counts


def load_network(folder: Path, name: str, network: type[nn.Module], sizes: type) -> nn.Module:
    """A network of a run folder, for inference: sizes of its config.json, averaged weights."""
    config = json.loads((folder / "config.json").read_text())
    module = network(from_dict(sizes, config[name]))
    load_module(module, folder, name)
    return module.eval().requires_grad_(False)


@dataclass(frozen=True)
class Reading:
    """Frames of one clip: person, number of the clip, numbers of the frames in it [n], landmarks [n,468,3], label codes
    [n,20], and what an arm reads from the pictures by name, [n,...]."""

    person: str
    clip: int
    frames: np.ndarray
    landmarks: np.ndarray
    labels: np.ndarray
    codes: dict[str, np.ndarray]


def read_clips(
    cache: FrameCache,
    labels: MotionLabels,
    look: Callable[[Tensor], dict[str, Tensor]],
    per_clip: int,
    per_person: int | None = None,
) -> list[Reading]:
    """What `look` reads from pictures [n,3,s,s] of every clip: at most `per_clip` good frames, evenly; of the first
    `per_person` clips of a person (None: all)."""
    clips, taken = [], Counter()
    for number, row in enumerate(cache.rows):
        chosen, person = np.flatnonzero((cache.clip == number) & cache.good), row["identity"]
        if len(chosen) < 2 or (per_person is not None and taken[person] >= per_person):
            continue
        taken[person] += 1
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, per_clip).astype(int))]
        landmarks = cache.landmarks[chosen]
        codes = {name: code.cpu().numpy() for name, code in look(to_tensor(cache.pictures(chosen))).items()}
        label_codes = labels.codes(landmarks, person).numpy()
        clips.append(Reading(person, number, cache.frame[chosen], landmarks, label_codes, codes))
    return clips


def ridge_probe(
    train: list[tuple[np.ndarray, dict[str, np.ndarray]]],
    val: list[tuple[np.ndarray, dict[str, np.ndarray]]],
    penalty: float,
) -> dict[str, dict]:
    """What ridge regression reads from a code, R2 with an interval over clips.

    train, val: of each clip the code [n,D] and what is to be read by name, [n,K].
    """
    codes = np.concatenate([code for code, _ in train]).astype(np.float64)
    mean, spread = codes.mean(0), codes.std(0) + 1e-8

    def design(code: np.ndarray) -> np.ndarray:
        return np.concatenate([(code - mean) / spread, np.ones((len(code), 1))], 1)

    def explained(clips: list[tuple[np.ndarray, np.ndarray]]) -> float:
        predicted, true = (np.concatenate(side) for side in zip(*clips, strict=True))
        return float(r2(predicted, true).mean())

    x, scores = design(codes), {}
    gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
    for name in train[0][1]:
        weights = np.linalg.solve(gram, x.T @ np.concatenate([targets[name] for _, targets in train]))
        clips = [(design(code) @ weights, targets[name]) for code, targets in val]
        scores[name] = {"mean": explained(clips), "interval": bootstrap(clips, explained)}
    return scores


def clip_scores(values: list[float]) -> dict:
    """One number per clip -> mean, interval over clips, and the numbers themselves."""
    return {"mean": float(np.mean(values)), "interval": interval(values), "clips": values}


@torch.no_grad()
def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of one call, the least of TIMED."""
    times = []
    for _ in range(TIMED):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1000 * min(times)
