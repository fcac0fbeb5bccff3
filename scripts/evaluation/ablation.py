"""Scores of an arm of the ablation, from a run folder of `train_motion_space --preset ablation-*`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from anitalker.config import POSE_SIZE, StageOneConfig, from_dict
from encoders.image import to_tensor
from scripts.evaluation.identity import Person, gather, similarities
from scripts.evaluation.leakage import leakage
from scripts.evaluation.metrics import bootstrap, interval, r2
from scripts.training.augment import colour, random_similarity
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.pictures import score_frames
from scripts.training.pixels import read_stage_one, reenact

PER_CLIP = 40  # frames of a clip of val that are read, at most
OF_TRAIN = 12, 4  # of a clip of train; clips of a person of train
RIDGE = 1e-2


@dataclass(frozen=True)
class Reading:
    """Frames of one clip: person, number of the clip, numbers of the frames in it [n], label codes [n,20] and what an
    arm reads: motion [n,M], identity [n,S] of unit length.
    """

    person: str
    clip: int
    frames: np.ndarray
    labels: np.ndarray
    motion: np.ndarray
    identity: np.ndarray


def score_arm(folder: Path, cache_dir: str, device: torch.device) -> dict:
    """PSNR, what the motion code says of pose and expression and of the person, how well identity is told apart."""
    config = from_dict(StageOneConfig, json.loads((folder / "config.json").read_text())["stage1"])
    tensors = load_file(folder / "weights.safetensors")
    network = read_stage_one(config, {k.removeprefix("stage1."): v for k, v in tensors.items()}).to(device)
    labels = MotionLabels.load(Path(cache_dir) / "labels.npz")
    train, val = (FrameCache(cache_dir, split, config.size) for split in ("train", "val"))
    rows = score_frames(val, device, lambda *given: {"model": reenact(network, given[1])})

    @torch.no_grad()
    def look(pictures: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        motion = network.encode(pictures.to(device)).motion_code
        identity = network.encode(altered(pictures).to(device)).identity
        return motion.cpu().numpy(), F.normalize(identity, dim=1).cpu().numpy()

    known, asked = readings(train, labels, look, *OF_TRAIN), readings(val, labels, look, PER_CLIP)
    people = gather([(one.person, one.clip, one.frames, one.identity) for one in asked])
    return {
        "psnr": _told(rows["model_whole"]),
        "psnr_face": _told(rows["model_face"]),
        "copy": _told(rows["copy_whole"]),
        "copy_face": _told(rows["copy_face"]),
        **read_codes(known, asked),
        "leak": _leak([(one.person, one.motion) for one in known + asked]),
        "eer": _equal_error(people),
    }


def altered(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [n,3,s,s] each under a light, place and size of its own: frames of a clip are else alike in all but the
    face, and telling people apart by their walls is no art. The same changes for every arm.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(pictures))
        moved = random_similarity(len(pictures), roll=0.3, size=0.25, shift=0.1).pictures(pictures)
        return colour(moved, 0.6)


def score_labels(cache_dir: str, size: int) -> dict:
    """What the label codes give away about the person: the row that the arms are compared with."""
    labels = MotionLabels.load(Path(cache_dir) / "labels.npz")
    found = []
    for split, limits in (("train", OF_TRAIN), ("val", (PER_CLIP,))):
        found += readings(FrameCache(cache_dir, split, size), labels, None, *limits)
    return {"leak": _leak([(one.person, one.labels) for one in found])}


def readings(
    cache: FrameCache, labels: MotionLabels, look: Callable | None, per_clip: int, clips: int | None = None
) -> list[Reading]:
    """`per_clip` good frames of every clip at most, evenly; of the first `clips` clips of a person (None: all)."""
    found, taken = [], Counter()
    for number, row in enumerate(cache.rows):
        person = row["identity"]
        mine = np.flatnonzero((cache.clip == number) & cache.good)
        if len(mine) < 2 or (clips is not None and taken[person] >= clips):
            continue
        taken[person] += 1
        mine = mine[np.unique(np.linspace(0, len(mine) - 1, per_clip).astype(int))]
        codes = labels.codes(cache.landmarks[mine], person).numpy()
        motion, identity = look(to_tensor(cache.pictures(mine))) if look else (codes, codes)
        found.append(Reading(person, number, cache.frame[mine], codes, motion, identity))
    return found


def read_codes(known: list[Reading], asked: list[Reading]) -> dict:
    """R2 of pose and expression read from the motion code by ridge regression; interval over clips."""
    x = np.concatenate([one.motion for one in known]).astype(np.float64)
    y = np.concatenate([one.labels for one in known]).astype(np.float64)
    mean, spread = x.mean(0), x.std(0) + 1e-8

    def design(motion: np.ndarray) -> np.ndarray:
        return np.concatenate([(motion - mean) / spread, np.ones((len(motion), 1))], 1)

    own = design(x)
    weights = np.linalg.solve(own.T @ own + RIDGE * len(x) * np.eye(own.shape[1]), own.T @ y)
    clips = [(design(one.motion) @ weights, one.labels) for one in asked]

    def explained(columns: slice) -> Callable[[list], float]:
        def statistic(chosen: list) -> float:
            made, true = (np.concatenate([pair[i][:, columns] for pair in chosen]) for i in (0, 1))
            return float(r2(made, true).mean())

        return statistic

    parts = {"pose": explained(slice(0, POSE_SIZE)), "expression": explained(slice(POSE_SIZE, None))}
    return {name: {"mean": of(clips), "interval": bootstrap(clips, of)} for name, of in parts.items()}


def _leak(clips: list[tuple[str, np.ndarray]]) -> dict:
    """Accuracy of a linear probe from motion code to person in percent, people counting alike."""
    found = leakage(clips)
    if not found:
        return {"mean": float("nan"), "interval": [float("nan")] * 2}
    low, high = found["interval"]
    percent = {"mean": 100 * found["accuracy"], "interval": [100 * low, 100 * high]}
    return {**percent, "chance": 100 * found["chance"], "people": found["people"]}


def _equal_error(people: list[Person]) -> dict:
    """Equal-error rate in percent; interval over people."""

    def rate(chosen: list) -> float:
        found = similarities(chosen)
        return 100 * found.result()["equal_error_rate"] if len(found.same) and len(found.different) else float("nan")

    value = rate(people)
    draws = bootstrap(people, rate, draws=200) if np.isfinite(value) else [float("nan")] * 2
    return {"mean": value, "interval": draws}


def _told(values: list[float]) -> dict:
    return {"mean": float(np.mean(values)), "interval": interval(values), "clips": values}
