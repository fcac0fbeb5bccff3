"""Scores of an arm of the ablation, from a run folder of `train_motion_space --preset ablation-*`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from anitalker.config import POSE_SIZE, StageOneConfig, from_dict
from anitalker.original import StageOne
from encoders.image import to_tensor
from scripts.evaluation.identity import Person, gather, similarities
from scripts.evaluation.leakage import leakage
from scripts.evaluation.metrics import bootstrap, interval
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.pictures import score_frames
from scripts.training.pixels import read_stage_one, reenact

PER_CLIP = 40  # frames of a clip that are read
RIDGE = 1e-2


def score_arm(folder: Path, cache_dir: str, device: torch.device) -> dict:
    """PSNR, what the motion code says of pose and expression and of the person, how well identity is told apart."""
    config = from_dict(StageOneConfig, json.loads((folder / "config.json").read_text())["stage1"])
    tensors = load_file(folder / "weights.safetensors")
    network = read_stage_one(config, {k.removeprefix("stage1."): v for k, v in tensors.items()}).to(device)
    labels = MotionLabels.load(Path(cache_dir) / "labels.npz")
    train, val = (FrameCache(cache_dir, split, config.size) for split in ("train", "val"))
    rows = score_frames(val, device, lambda *given: {"model": reenact(network, given[1])})

    def motion(cache: FrameCache, numbers: np.ndarray) -> np.ndarray:
        return look(network, cache, numbers, device)[0]

    people = gather(
        [
            (row["identity"], number, val.frame[chosen], look(network, val, chosen, device)[1])
            for number, row, chosen in frames_of(val)
        ]
    )
    return {
        "psnr": _told(rows["model_whole"]),
        "psnr_face": _told(rows["model_face"]),
        "copy": _told(rows["copy_whole"]),
        "copy_face": _told(rows["copy_face"]),
        **read_codes(motion, train, val, labels),
        "leak": _leak(motion, train, val),
        "eer": _equal_error(people),
    }


def score_labels(cache_dir: str, size: int) -> dict:
    """What the label codes give away about the person: the row that the arms are compared with."""
    labels = MotionLabels.load(Path(cache_dir) / "labels.npz")
    train, val = (FrameCache(cache_dir, split, size) for split in ("train", "val"))

    def motion(cache: FrameCache, numbers: np.ndarray) -> np.ndarray:
        person = cache.rows[cache.clip[numbers[0]]]["identity"]
        return labels.codes(cache.landmarks[numbers], person).numpy()

    return {"leak": _leak(motion, train, val)}


def frames_of(cache: FrameCache):
    """(number, row, frames) of every clip: PER_CLIP good frames at most, evenly, in order."""
    for number, row in enumerate(cache.rows):
        mine = np.flatnonzero((cache.clip == number) & cache.good)
        if len(mine) >= 2:
            yield number, row, mine[np.unique(np.linspace(0, len(mine) - 1, PER_CLIP).astype(int))]


@torch.no_grad()
def look(network: StageOne, cache: FrameCache, numbers: np.ndarray, device: torch.device):
    """Motion codes [n,M] and identity features [n,S] of unit length of frames by number."""
    seen = network.encode(to_tensor(cache.pictures(numbers, device)))
    return seen.motion_code.cpu().numpy(), F.normalize(seen.identity, dim=1).cpu().numpy()


def read_codes(motion: Callable, train: FrameCache, val: FrameCache, labels: MotionLabels) -> dict:
    """R2 of pose and expression read from the motion code by ridge regression; interval over clips."""
    pairs = {}
    for name, cache in (("train", train), ("val", val)):
        found = [
            (motion(cache, chosen), labels.codes(cache.landmarks[chosen], row["identity"]).numpy())
            for _, row, chosen in frames_of(cache)
        ]
        pairs[name] = found
    x, y = (np.concatenate([pair[i] for pair in pairs["train"]]).astype(np.float64) for i in (0, 1))
    mean, spread = x.mean(0), x.std(0) + 1e-8
    design = np.concatenate([(x - mean) / spread, np.ones((len(x), 1))], 1)
    gram = design.T @ design + RIDGE * len(x) * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, design.T @ y)
    clips = []
    for codes, true in pairs["val"]:
        made = np.concatenate([(codes - mean) / spread, np.ones((len(codes), 1))], 1) @ weights
        clips.append((made, true))

    def explained(columns: slice) -> Callable[[list], float]:
        def statistic(chosen: list) -> float:
            made, true = (np.concatenate([pair[i][:, columns] for pair in chosen]) for i in (0, 1))
            return float((1 - np.square(made - true).sum(0) / np.square(true - true.mean(0)).sum(0)).mean())

        return statistic

    parts = {"pose": explained(slice(0, POSE_SIZE)), "expression": explained(slice(POSE_SIZE, None))}
    return {name: {"mean": of(clips), "interval": bootstrap(clips, of)} for name, of in parts.items()}


def _leak(motion: Callable, train: FrameCache, val: FrameCache) -> dict:
    """Accuracy of a linear probe from motion code to person in percent, over the people of both splits."""
    clips = [(row["identity"], motion(cache, chosen)) for cache in (train, val) for _, row, chosen in frames_of(cache)]
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
