"""Does HAL help, do high-resolution streams help? Image encoders of every family under the same training.

Letters: n frames, D width of a stage's code.
"""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE
from anitalker.faces.landmarks import eye_opening, lip_opening
from anitalker.motion.motion_space import MotionSpace, upright
from anitalker.network_config import MotionSpaceConfig
from scripts.ablations.scoring import Reading, load_network, milliseconds, read_clips, ridge_probe
from scripts.ablations.study import Column, Study, cell, clip_scores
from scripts.markdown import table
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.losses import landmark_loss

INTRODUCTION = """\
Stage `codes` of `lite-256`, every arm {steps} steps of {batch} pairs from the same seed; HRNet is {hrnet}; scores on
`val`: unseen people. Brackets: 95% bootstrap interval over clips. Landmarks driven: the first frame's landmarks moved
by the codes of later frames, against the true ones (no picture is drawn). R²: ridge regression from the code, fitted on
other people. Milliseconds: processor time of one look. What differs by less than its interval says nothing."""
HRNET = "HRNET"  # stands for the one of --hrnet
# V1 and V2 give one map, HAL has nothing to weigh: the controls.
ARMS = {
    "lia": ("lia, HAL", ("--encoder", "lia")),
    "lia-last": ("lia, last stage", ("--encoder", "lia", "--no-hal")),
    "hrnet-v1": ("HRNet, V1", ("--encoder", HRNET, "--head", "v1")),
    "hrnet-v2": ("HRNet, V2", ("--encoder", HRNET, "--head", "v2")),
    "hrnet-v2p": ("HRNet, V2p, HAL", ("--encoder", HRNET, "--head", "v2p")),
    "resnet": ("ResNet-18, HAL", ("--encoder", "resnet")),
    "hrnet-branches": ("HRNet, branches, HAL", ("--encoder", HRNET, "--head", "branches")),
}
COLUMNS = {
    "landmark": Column("landmarks driven, % of face", 2, False),
    "pose": Column("pose, R²", 3, True),
    "lips": Column("lip opening, R²", 3, True),
    "eyes": Column("eye opening, R²", 3, True),
    "milliseconds": Column("ms a picture", 1, False),
    "parameters": Column("million parameters", 2, False),
}

PER_CLIP = 24  # frames of a clip of val that are read, at most
OF_TRAIN = 6, 2  # of a clip of train; clips of a person of train
PENALTY = 1e-1  # of the ridge regression
READ_AT_ONCE = 8  # frames


def settings(options: Namespace, steps: int) -> dict:
    """Flags of scripts.train_motion_space that all arms share."""
    return {"preset": "lite-256", "stage": "codes", "warm": min(200, max(1, steps // 10))}


def score(folder: Path, options: Namespace) -> dict:
    """Driven landmarks, linear probes from the motion code and from every stage alone, time and size."""
    space = load_network(folder, "motion_space", MotionSpace, MotionSpaceConfig)
    labels = MotionLabels.load(Path(options.cache) / "labels.npz")
    train = read_clips(FrameCache(options.cache, "train"), labels, partial(look, space), *OF_TRAIN)
    val = read_clips(FrameCache(options.cache, "val"), labels, partial(look, space), PER_CLIP)
    probes = {}
    for name in val[0].codes:
        pairs = ([(clip.codes[name], targets(clip)) for clip in side] for side in (train, val))
        probes[name] = ridge_probe(*pairs, PENALTY)
    weights, picture = space.hal.weights().tolist(), torch.zeros(1, 3, 256, 256)
    stages = [
        {"stride": stride, "weight": weight, **probes[f"stage {number}"]}
        for number, (stride, weight) in enumerate(zip(space.encoder.strides, weights, strict=True))
    ]
    return {
        "landmark": clip_scores([driven_error(space, clip) for clip in val]),
        **probes["motion"],
        "stages": stages,
        "milliseconds": milliseconds(lambda: space.look(picture)),
        "parameters": sum(parameter.numel() for parameter in space.encoder.parameters()) / 1e6,
    }


@torch.no_grad()
def look(space: MotionSpace, pictures: Tensor) -> dict[str, Tensor]:
    """Pictures [n,3,256,256] -> motion [n,20] in their frame, and the code [n,D] of every stage of the second look."""
    motion, stages = [], []
    for few in pictures.split(READ_AT_ONCE):
        upright_few = upright(space.look(few).motion).pictures(few)
        motion.append(space(few).motion)
        stages.append(space.hal.stages(space.encoder(upright_few)))
    codes = torch.cat(stages).unbind(1)
    return {"motion": torch.cat(motion)} | {f"stage {number}": code for number, code in enumerate(codes)}


def targets(clip: Reading) -> dict[str, np.ndarray]:
    """What is to be read from a code."""
    lips, eyes = (opening(clip.landmarks)[:, None] for opening in (lip_opening, eye_opening))
    return {"pose": clip.labels[:, :POSE_SIZE], "lips": lips, "eyes": eyes}


def driven_error(space: MotionSpace, clip: Reading) -> float:
    """Error of the first frame's landmarks under the motion of the others."""
    marks, motion = torch.tensor(clip.landmarks), torch.tensor(clip.codes["motion"])
    driven = space.landmarks(marks[:1].expand_as(marks), motion[:1].expand_as(motion), motion)
    return float(landmark_loss(driven[1:], marks[1:], torch.ones(marks.shape[1])).mean())


def notes(report: dict) -> str:
    """What each stage alone knows."""
    rows = []
    for arm, stored in report["arms"].items():
        for stage in stored["scores"]["stages"]:
            scores = [cell(stage[name], 3) for name in ("pose", "lips", "eyes")]
            rows.append([ARMS[arm][0], stage["stride"], f"{stage['weight']:.3f}", *scores])
    headings = ("encoder", "stride", "weight", "pose, R²", "lip opening, R²", "eye opening, R²")
    title = "What each stage alone knows (the same regression from the stage's code), and its weight in HAL:"
    return f"{title}\n\n{table(headings, rows)}"


STUDY = Study(
    file="encoders",
    title="Image encoders compared",
    introduction=INTRODUCTION,
    arms=ARMS,
    columns=COLUMNS,
    pairs=(
        ("HAL against the last stage, lia", "lia", "lia-last"),
        ("HAL over HRNet's pyramid against its finest map", "hrnet-v2p", "hrnet-v1"),
        ("HAL over HRNet's pyramid against all in one map", "hrnet-v2p", "hrnet-v2"),
        ("HRNet's branches against lia, both with HAL", "hrnet-branches", "lia"),
        ("ResNet against lia, both with HAL", "resnet", "lia"),
    ),
    plan=("batch", "seed", "hrnet"),
    steps=1500,
    batch=8,
    settings=settings,
    score=score,
    notes=notes,
)
