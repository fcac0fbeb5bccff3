"""How well named expressions are read from the motion code: against landmarks that another tracker found, on val.

    python -m scripts.study expressions --data DIR

Codes are read from pixels; the distances of each expression are measured in the data's own landmarks, turned to the
front. Both as deviations from their mean over the clip. Correlation and slope, means over people.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from anitalker import pipeline
from anitalker.config import InputError
from anitalker.faces.landmarks import fit_pose, level_depth, to_canonical
from anitalker.models.lite import Lite
from anitalker.motion.expressions import DISTANCES, STRONG, measure
from scripts.evaluation.clips import EvalClip, read_clips
from scripts.evaluation.metrics import interval
from scripts.markdown import table

FRAMES = 40  # of a clip that are read
LEAST_SPREAD = 0.05  # of a strength over a clip, by landmarks: what does not move has no correlation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--clips", type=int, help="so many clips of val (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    model = pipeline.load("lite", "cpu").model
    assert isinstance(model, Lite)
    people: dict[str, list[dict[str, tuple[float, float]]]] = defaultdict(list)
    for clip in read_clips(arguments.data, "val", arguments.clips, speech=False):
        people[clip.row["identity"]].append(agreement(model, clip))
    if not people:
        raise InputError(f"data has no clips of split val: {arguments.data!r}")
    print(report(people))
    return 0


@torch.inference_mode()
def agreement(model: Lite, clip: EvalClip) -> dict[str, tuple[float, float]]:
    """Correlation and slope of each expression that moves in a clip."""
    _, frames, landmarks = clip.spread(FRAMES)
    codes = torch.cat([model.read_codes(torch.from_numpy(frame[None]))[0] for frame in frames])
    points, canonical = torch.from_numpy(landmarks).float(), model.space.canonical
    pose = fit_pose(points, canonical)
    shape = to_canonical(level_depth(points, pose, canonical), pose)
    read = model.expressions.read(codes)
    scores = {}
    for n, (name, terms) in enumerate(DISTANCES.items()):
        true = measure(terms, shape) / (STRONG * model.expressions.sizes[n].float())
        if float(true.std()) > LEAST_SPREAD:
            scores[name] = _fit(read[:, n], true)
    return scores


def _fit(read: Tensor, true: Tensor) -> tuple[float, float]:
    a, b = read - read.mean(), true - true.mean()
    return float((a * b).sum() / (a.norm() * b.norm())), float((a * b).sum() / b.square().sum())


def report(people: dict[str, list[dict[str, tuple[float, float]]]]) -> str:
    """A row for each expression: means over the people in whose clips it moves."""
    rows = []
    for name in DISTANCES:
        means = [
            np.mean([clip[name] for clip in clips if name in clip], 0)
            for clips in people.values()
            if any(name in clip for clip in clips)
        ]
        if not means:
            rows.append((name, 0, "", ""))
            continue
        correlation, slope = np.mean(means, 0)
        low, high = interval([mean[0] for mean in means])
        rows.append((name, len(means), f"{correlation:.2f} [{low:.2f}, {high:.2f}]", f"{slope:.2f}"))
    return table(("expression", "people", "correlation", "slope"), rows)
