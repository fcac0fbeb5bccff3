"""The paper's ablation: stage one of the original with and without HAL, metric learning, mutual information; losses."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from anitalker.config import POSE_SIZE
from anitalker.network_config import StageOneConfig
from anitalker.original.stage_one import StageOne
from scripts.ablations.scoring import Reading, load_network, read_clips, ridge_probe
from scripts.ablations.study import Column, Study, clip_scores
from scripts.evaluation.codes import leakage
from scripts.evaluation.identity import Person, gather, similarities
from scripts.evaluation.metrics import bootstrap
from scripts.training.augment import colour, random_similarity
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels
from scripts.training.pictures import score_frames
from scripts.training.pixels import reenact
from scripts.training.presets import PRESETS

INTRODUCTION = """\
The original's architecture (pyramid encoder with HAL, flow-warping decoder) at {size} x {size} pixels and an eighth of
its width, every arm {steps} steps of {batch} pairs on {device} from the same seed; scores on `val`, people unseen in
training. Brackets: 95% bootstrap interval over clips (over people in the last two columns). Short trainings of a small
network: what differs by less than its interval says nothing, and what a long training would say is not known."""
NOTES = """\
* PSNR: first frame of a clip driven to later ones by their own motion codes.
* Read: ridge regression from the 20 motion numbers to the label codes of pose and expression, fitted on training
  clips.
* Tells who: a linear probe from the motion code to the person, early frames of a clip against late ones. The row
  of the label codes shows what pose and expression give away by themselves: people hold their heads, cameras
  stand still.
* Equal-error rate: same person or not by the cosine of the arm's own identity feature, every frame under another
  light, place and size. Where both terms are left out nothing trains this feature."""
RECIPE = PRESETS["ablation-all"][0]
DESCRIPTIONS = {
    "all": "HAL, AAM-softmax, mutual information",
    "no-hal": "last stage instead of HAL",
    "no-metric": "without metric learning",
    "no-mutual": "without mutual information",
    "neither": "without both",
    "triplet": "triplet instead of AAM-softmax",
    "no-flow": "without landmark-flow supervision",
    "adversarial": "with a discriminator",
    "autoencode": "autoencoding alone: L1, no other term",
}
ARMS = {arm: (text, ("--preset", f"ablation-{arm}", "--features", "none")) for arm, text in DESCRIPTIONS.items()}
COLUMNS = {
    "psnr": Column("PSNR, dB", 2, True),
    "psnr_face": Column("PSNR face, dB", 2, True),
    "pose": Column("pose read, R2", 3, True),
    "expression": Column("expression read, R2", 3, True),
    "leak": Column("motion code tells who, %", 1, False),
    "eer": Column("equal-error rate of identity, %", 1, False),
}

PER_CLIP = 40  # frames of a clip of val that are read, at most
OF_TRAIN = 12, 4  # of a clip of train; clips of a person of train
PENALTY = 1e-2  # of the ridge regression
UNKNOWN = {"mean": float("nan"), "interval": [float("nan")] * 2}


def settings(options: Namespace, steps: int) -> dict:
    """Flags of scripts.train_motion_space that all arms share."""
    return {
        "size": options.size,
        "warm": min(200, max(1, steps // 10)),
        "half-life": max(1, steps // 3),
        "adversarial-after": steps // 3,  # of the one arm that has a discriminator
    }


def score(folder: Path, options: Namespace) -> dict:
    """PSNR, what the motion code says of pose and expression and of the person, how well identity is told apart."""
    device = torch.device(options.device)
    network = load_network(folder, "stage1", StageOne, StageOneConfig).to(device)
    labels = MotionLabels.load(Path(options.cache) / "labels.npz")
    cache = {split: FrameCache(options.cache, split, network.config.size) for split in ("train", "val")}
    rows = score_frames(cache["val"], device, lambda _, pictures, __: {"model": reenact(network, pictures)})

    @torch.no_grad()
    def look(pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        identity = network.encode(altered(pictures).to(device)).identity
        motion = network.encode(pictures.to(device)).motion_code
        return {"motion": motion, "identity": F.normalize(identity, dim=1)}

    train = read_clips(cache["train"], labels, look, *OF_TRAIN)
    val = read_clips(cache["val"], labels, look, PER_CLIP)
    people = gather([(clip.person, clip.clip, clip.frames, clip.codes["identity"]) for clip in val])
    pairs = ([(clip.codes["motion"], targets(clip)) for clip in side] for side in (train, val))
    return {
        "psnr": clip_scores(rows["model_whole"]),
        "psnr_face": clip_scores(rows["model_face"]),
        "copy": clip_scores(rows["copy_whole"]),
        "copy_face": clip_scores(rows["copy_face"]),
        **ridge_probe(*pairs, PENALTY),
        "leak": leak([(clip.person, clip.codes["motion"]) for clip in train + val]),
        "eer": equal_error_rate(people),
    }


def targets(clip: Reading) -> dict[str, np.ndarray]:
    """What is to be read from the motion code."""
    return {"pose": clip.labels[:, :POSE_SIZE], "expression": clip.labels[:, POSE_SIZE:]}


def baselines(options: Namespace) -> dict:
    """What the label codes give away about the person: the row that the arms are compared with."""
    labels = MotionLabels.load(Path(options.cache) / "labels.npz")
    clips = []
    for split, limits in (("train", OF_TRAIN), ("val", (PER_CLIP,))):
        clips += read_clips(FrameCache(options.cache, split, options.size), labels, lambda pictures: {}, *limits)
    return {"labels": {"leak": leak([(clip.person, clip.labels) for clip in clips])}}


def references(report: dict) -> dict[str, dict]:
    """Rows below the arms."""
    first = next(iter(report["arms"].values()))["scores"]
    copied = {"psnr": first["copy"], "psnr_face": first["copy_face"]}
    return {"copying the first frame": copied, "the label codes themselves": report["labels"]}


def altered(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [n,3,s,s] each under a light, place and size of its own: frames of a clip are else alike in all but the
    face, and telling people apart by their walls is no art. The same changes for every arm.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(pictures))
        moved = random_similarity(len(pictures), roll=0.3, size=0.25, shift=0.1).pictures(pictures)
        return colour(moved, 0.6)


def leak(clips: list[tuple[str, np.ndarray]]) -> dict:
    """Accuracy of a linear probe from motion code to person in percent, people counting alike."""
    probe = leakage(clips)
    if not probe:
        return UNKNOWN
    percent = {"mean": 100 * probe["accuracy"], "interval": [100 * bound for bound in probe["interval"]]}
    return {**percent, "chance": 100 * probe["chance"], "people": probe["people"]}


def equal_error_rate(people: list[Person]) -> dict:
    """In percent; interval over people."""

    def rate(chosen: list) -> float:
        pairs = similarities(chosen)
        return 100 * pairs.result()["equal_error_rate"] if len(pairs.same) and len(pairs.different) else float("nan")

    value = rate(people)
    return {"mean": value, "interval": bootstrap(people, rate, draws=200)} if np.isfinite(value) else UNKNOWN


STUDY = Study(
    file="ablation",
    title="Ablation of stage one",
    introduction=INTRODUCTION,
    arms=ARMS,
    usual=("all", "no-hal", "no-metric", "no-mutual", "triplet"),
    columns=COLUMNS,
    plan=("size", "batch", "seed", "device"),
    steps=None,
    batch=RECIPE.batch,
    settings=settings,
    score=score,
    baselines=baselines,
    references=references,
    notes=lambda report: NOTES,
)
