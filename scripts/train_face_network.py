"""Train the face network: landmark regressor, detector, and the ridge fit from 68 to 468 points.

    python -m scripts.training.data --data DIR
    python -m scripts.train_face_network --part landmarks --out runs/face-landmarks
    python -m scripts.train_face_network --part detector --out runs/face-detector
    python -m scripts.export runs/face-detector runs/face-landmarks --kind face -o checkpoints/face.safetensors
    python -m scripts.train_face_network --part ridge --file checkpoints/landmarks68.safetensors
    python -m scripts.evaluate_faces

Each run resumes from its folder; a resumed run takes a changed --steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from anitalker.faces.face_network import Detector, LandmarkRegressor, crop_frame, decode_boxes, to_crop
from anitalker.faces.landmarks import (
    LEFT_LID_PAIRS,
    LIP_PAIRS,
    RIGHT_LID_PAIRS,
    eye_opening,
    face_height,
    lip_opening,
)
from anitalker.faces.landmarks68 import IBUG_POINTS, expand_to_mesh, fit_ridge
from anitalker.files import write_whole
from anitalker.network_config import DetectorConfig, LandmarkConfig, to_dict
from scripts.training.data import FrameCache
from scripts.training.engine import fit, open_run, start
from scripts.training.loop import load_module
from scripts.training.losses import point_weights
from scripts.training.recipe import Recipe, add_dtype, command, take_recipe, training_parser
from scripts.training.scenes import face_crops, make_scenes, mirror_order

NOISE = 0.03  # expected of face-alignment, over the root mean square radius of its 68 points (about 1.2% of a face)
PAIRS = LIP_PAIRS + RIGHT_LID_PAIRS + LEFT_LID_PAIRS
SHARED = {"warm": 100, "decay": 0.998, "save_every": 60.0, "score": 0}
RECIPES = {
    "landmarks": Recipe(steps=5000, batch=64, lr=1.5e-3, **SHARED),
    "detector": Recipe(steps=3000, batch=16, lr=2e-3, **SHARED),
}


def frame_weights(cache: FrameCache, stills: float = 0.5) -> Tensor:
    """How often each frame is drawn: half stills; clips by the root of a person's frames; more blinks, open mouths."""
    still, landmarks = cache.clip < 0, cache.landmarks
    weight = 1 + 2.0 * (lip_opening(landmarks) > 0.05) + 3.0 * (eye_opening(landmarks) < 0.18)
    weight = weight * cache.good * np.bincount(cache.identity)[cache.identity] ** -0.5
    weight[still] *= stills / weight[still].sum()
    weight[~still] *= (1 - stills) / max(weight[~still].sum(), 1e-9)
    return torch.from_numpy(weight)


def shape_basis(landmarks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and `count` principal directions (times their spread) of upright shapes, about the crop's middle."""
    flat = (to_crop(landmarks, *crop_frame(landmarks)) - torch.tensor([0.5, 0.5, 0.0])).flatten(1)
    mean = flat.mean(0)
    _, spread, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    scaled = directions[:count] * spread[:count, None] / len(flat) ** 0.5
    return mean.view(-1, 3), scaled.view(count, -1, 3)


def coordinate_weights() -> Tensor:
    """[468,3]: lips and eyes count three times, depth little; mean 1 over x and y."""
    return point_weights(3.0)[:, None] * torch.tensor([1.0, 1.0, 0.3])


def landmark_loss(guess: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean absolute difference of landmarks [B,N,3], in face heights."""
    return ((guess - truth).abs() * weights / face_height(truth)[:, None, None]).mean()


def opening_loss(guess: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of the vectors between upper and lower lips and lids, in face heights."""
    upper, lower = torch.tensor(PAIRS, device=guess.device).T
    difference = (guess[:, upper] - guess[:, lower]) - (truth[:, upper] - truth[:, lower])
    return (difference[..., :2].abs() / face_height(truth)[:, None, None]).mean()


def match(
    anchors: Tensor, boxes: Tensor, valid: Tensor, positive: float = 0.4, negative: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Anchors [A,3] against faces [B,G,4] (valid [B,G]) -> label [B,A] (1 face, 0 background, -1 neither), face index.

    Each face also takes its best anchor, whatever the overlap.
    """
    half = anchors[:, 2:] / 2
    squares = torch.cat([anchors[:, :2] - half, anchors[:, :2] + half], 1)
    overlap = box_iou(boxes.flatten(0, 1), squares).unflatten(0, boxes.shape[:2])  # [B,G,A]
    overlap = torch.where(valid[..., None], overlap, 0)
    best, which = overlap.max(1)
    label = (best > positive).long() - ((best > negative) & (best <= positive)).long()
    most, anchor = overlap.max(2)
    batch, face = torch.nonzero(valid & (most > 0), as_tuple=True)
    label[batch, anchor[batch, face]] = 1
    which[batch, anchor[batch, face]] = face
    return label, which


def focal_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Lin et al. 2017, eq. 5, summed over anchors whose label is not -1 and divided by the number of positives."""
    counted, faces = label >= 0, (label == 1).float()
    loss = sigmoid_focal_loss(logits[counted], faces[counted], alpha=0.4, gamma=2.0, reduction="sum")
    return loss / faces.sum().clamp_min(1)


def detector_loss(
    out: tuple[Tensor, Tensor, Tensor], anchors: Tensor, boxes: Tensor, points: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Score, box and point losses of `Detector.forward`'s result against faces [B,G,...].

    Boxes: generalised IoU (Rezatofighi et al., 2019) on positive anchors; points: L1 in anchor sides.
    """
    logits, deltas, offsets = out
    label, which = match(anchors, boxes, valid)
    batch, anchor = torch.nonzero(label == 1, as_tuple=True)
    face = which[batch, anchor]
    box = generalized_box_iou_loss(decode_boxes(anchors, deltas)[batch, anchor], boxes[batch, face], reduction="sum")
    target = (points[batch, face] - anchors[anchor, None, :2]) / anchors[anchor, None, 2:]
    point = F.smooth_l1_loss(offsets[batch, anchor], target, beta=0.05, reduction="sum")
    count = max(len(batch), 1)
    return focal_loss(logits, label), box / count, 0.25 * point / count


class LandmarkObjective(nn.Module):
    """Errors of the first and the refined landmarks, and of lip and lid openings, in face heights."""

    def __init__(self, network: LandmarkRegressor, bf16: bool) -> None:
        super().__init__()
        self.network, self.bf16 = network, bf16
        self.register_buffer("weights", coordinate_weights(), persistent=False)

    def forward(self, batch: tuple[Tensor, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Crops and landmarks as `face_crops` gives them -> losses with their `total`, and nothing else."""
        crops, truth = batch
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=self.bf16):
            first, refined = self.network.coarse_and_refined(crops.contiguous(memory_format=torch.channels_last))
        losses = {
            "first": landmark_loss(first, truth, self.weights),
            "refined": landmark_loss(refined, truth, self.weights),
            "opening": opening_loss(refined, truth),
        }
        return losses | {"total": losses["first"] + losses["refined"] + 2.0 * losses["opening"]}, {}


class DetectorObjective(nn.Module):
    """Losses of scores, boxes and key points on scenes."""

    def __init__(self, network: Detector, bf16: bool) -> None:
        super().__init__()
        self.network, self.bf16 = network, bf16

    def forward(self, batch: tuple[Tensor, ...], step: int) -> tuple[dict[str, Tensor], dict]:
        """What `make_scenes` gives -> losses with their `total`, and nothing else."""
        scenes, *truth = batch
        scenes = scenes.contiguous(memory_format=torch.channels_last)
        with torch.autocast(scenes.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.network(scenes)
        terms = detector_loss(outputs, self.network.anchors(*scenes.shape[-2:]), *truth)
        return dict(zip(("score", "box", "points"), terms, strict=True)) | {"total": sum(terms)}, {}


def train(options: argparse.Namespace) -> None:
    """Train the landmark regressor, or a detector."""
    recipe = take_recipe(options, RECIPES[options.part])
    engine = start(options)
    cache, bf16 = FrameCache(options.cache, "train"), options.dtype == "bfloat16"
    weights = frame_weights(cache)
    if options.part == "landmarks":
        config = LandmarkConfig()
        network = LandmarkRegressor(config)
        shapes = torch.from_numpy(cache.landmarks[np.random.permutation(len(cache))[:4000]])
        mirror = mirror_order(shapes)
        mirrored = shapes[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])
        network.set_shape(*shape_basis(torch.cat([shapes, mirrored]), config.coefficients))
        objective = LandmarkObjective(network, bf16)
    else:
        config = DetectorConfig()
        network = Detector(config)
        objective = DetectorObjective(network, bf16)
    if options.start:
        load_module(network, options.start, options.part)
    network.to(engine.device, memory_format=torch.channels_last)
    groups = [
        {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": 0.02},
        {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, recipe.lr)
    configs = {options.part: to_dict(config), "steps": recipe.steps}
    run = open_run(engine, options, recipe, {options.part: network}, optimizer, configs)

    def draw(step: int, seed: int) -> tuple[Tensor, ...]:
        frames = recipe.batch if options.part == "landmarks" else 3 * recipe.batch
        drawn = cache.draw(torch.multinomial(weights, frames, replacement=True).sort().values.numpy())
        if options.part == "landmarks":
            batch = face_crops(*drawn, mirror, config.size)
        else:
            batch = make_scenes(*drawn, recipe.batch, config.long_side)
        return tuple(tensor.to(engine.device) for tensor in batch)

    fit(run, engine, objective.train(), draw)


def fit_68(options: argparse.Namespace) -> None:
    """The ridge fit from 68 to 468 points, on every good label of the cache -> --file, float16 with float32 mean."""
    cache, check = FrameCache(options.cache, "train"), FrameCache(options.cache, "val")
    numbers = np.flatnonzero(cache.good & ((cache.clip < 0) | (cache.frame % 10 == 0)))
    ridge = fit_ridge(torch.from_numpy(cache.landmarks[numbers]), NOISE)
    half = {name: tensor if name == "mean" else tensor.half() for name, tensor in ridge.items()}
    config = {"landmarks68": {"noise": NOISE, "faces": len(numbers)}}
    write_whole(Path(options.file), lambda partial: save_file(half, partial, {"config": json.dumps(config)}))
    truth = torch.from_numpy(check.landmarks[check.good])
    error = (expand_to_mesh(ridge, truth[:, list(IBUG_POINTS), :2]) - truth)[..., :2].norm(dim=-1) / face_height(truth)[
        :, None
    ]
    print(json.dumps({"file": options.file, "faces": len(numbers), "percent": round(100 * float(error.mean()), 3)}))


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = training_parser(__doc__, fields(Recipe), out="runs/face", device="cpu", threads=1)
    parser.add_argument("--part", required=True, choices=("landmarks", "detector", "ridge"))
    parser.add_argument("--cache", default="runs/cache", help="what scripts.training.data decoded")
    parser.add_argument("--file", help="what ridge writes")
    add_dtype(parser)
    options = parser.parse_args(arguments)
    (fit_68 if options.part == "ridge" else train)(options)


if __name__ == "__main__":
    sys.exit(main())
