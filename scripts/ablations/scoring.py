"""What scores of several studies share: networks of a run, frames of clips, ridge regression from codes, time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from anitalker.network_config import from_dict
from encoders.image import to_tensor
from scripts.benchmarks.report import by_turns
from scripts.evaluation.metrics import bootstrap, r2
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.loop import load_module

TIMED = 7  # calls, of which the quickest counts

Targets = list[tuple[np.ndarray, dict[str, np.ndarray]]]  # of each clip a code [n,D], and by name what it should tell


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


def ridge_probe(train: Targets, val: Targets, penalty: float) -> dict[str, dict]:
    """What ridge regression reads from a code, R2 with an interval over clips."""
    scaler, scores = StandardScaler().fit(np.concatenate([code for code, _ in train]).astype(np.float64)), {}

    def design(clips: Targets) -> np.ndarray:
        codes = scaler.transform(np.concatenate([code for code, _ in clips]))
        return np.c_[codes, np.ones(len(codes))]

    def explained(clips: list[tuple[np.ndarray, np.ndarray]]) -> float:
        predicted, true = (np.concatenate(side) for side in zip(*clips, strict=True))
        return float(r2(predicted, true).mean())

    x = design(train)
    for name in train[0][1]:
        ridge = Ridge(penalty * len(x), fit_intercept=False, solver="cholesky")
        ridge.fit(x, np.concatenate([targets[name] for _, targets in train]))
        clips = [(ridge.predict(design([clip])).reshape(clip[1][name].shape), clip[1][name]) for clip in val]
        scores[name] = {"mean": explained(clips), "interval": bootstrap(clips, explained)}
    return scores


@torch.no_grad()
def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of one call, the least of TIMED."""
    times, _ = by_turns({"work": work}, TIMED)
    return 1000 * float(times["work"][:, 1].min())
