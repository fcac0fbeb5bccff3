"""Train the face network: landmark regressor, detector, and the ridge fit from 68 to 468 points.

    python -m scripts.training.data --data DIR
    python -m scripts.train_face_network --part landmarks --out runs/face-landmarks
    python -m scripts.train_face_network --part detector --out runs/face-detector
    python -m scripts.export runs/face-detector runs/face-landmarks --kind face -o checkpoints/face.safetensors
    python -m scripts.train_face_network --part ridge --file checkpoints/landmarks68.safetensors
    python -m scripts.train_face_network --part score --data DIR --file checkpoints/face.safetensors

Each run resumes from its folder; a resumed run takes a changed --steps, and decays its learning rate over the last 40%.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from anitalker.config import DetectorConfig, InputError, LandmarkConfig, to_dict
from anitalker.faces.face_network import Detector, LandmarkRegressor, crop_frame, to_crop
from anitalker.faces.landmarks import eye_opening, face_height, lip_opening
from anitalker.faces.landmarks68 import IBUG_POINTS, expand_to_mesh, fit_ridge
from anitalker.models.loading import load_face
from scripts.training import face_losses
from scripts.training.data import FrameCache
from scripts.training.engine import fit, open_run, start
from scripts.training.face_scores import score_detector, score_landmarks
from scripts.training.loop import load_module
from scripts.training.recipe import Recipe, add_dtype, command, take_recipe, training_parser
from scripts.training.scenes import face_crops, make_scenes, mirror_order

NOISE = 0.03  # expected of face-alignment, over the root mean square radius of its 68 points (about 1.2% of a face)
SHARED = {"warm": 100, "schedule": "plateau", "decay": 0.998, "save_every": 60.0, "score": 0}
RECIPES = {
    "landmarks": Recipe(steps=5000, batch=64, lr=1.5e-3, **SHARED),
    "detector": Recipe(steps=3000, batch=16, lr=2e-3, **SHARED),
}


class FrameSampler:
    """Random training frames: half stills; clips by the root of a person's frames; more for blinks and open mouths."""

    def __init__(self, cache: FrameCache, stills: float = 0.5) -> None:
        still, landmarks = cache.clip < 0, cache.landmarks
        weight = 1 + 2.0 * (lip_opening(landmarks) > 0.05) + 3.0 * (eye_opening(landmarks) < 0.18)
        weight = weight * cache.good * np.bincount(cache.identity)[cache.identity] ** -0.5
        weight[still] *= stills / weight[still].sum()
        weight[~still] *= (1 - stills) / max(weight[~still].sum(), 1e-9)
        self.cache, self.weight = cache, torch.from_numpy(weight)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """uint8 [count,256,256,3] and landmarks [count,N,3] in crop widths."""
        numbers = torch.multinomial(self.weight, count, replacement=True)
        return self.cache.draw(numbers.sort().values.numpy())


def shape_basis(landmarks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and `count` principal directions (times their spread) of upright shapes, about the crop's middle."""
    flat = (to_crop(landmarks, *crop_frame(landmarks)) - torch.tensor([0.5, 0.5, 0.0])).flatten(1)
    mean = flat.mean(0)
    _, spread, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    scaled = directions[:count] * spread[:count, None] / len(flat) ** 0.5
    return mean.view(-1, 3), scaled.view(count, -1, 3)


class LandmarkObjective(nn.Module):
    """Errors of the first and the refined landmarks, and of lip and lid openings, in face heights."""

    def __init__(self, network: LandmarkRegressor, bf16: bool) -> None:
        super().__init__()
        self.network, self.bf16 = network, bf16
        self.register_buffer("weights", face_losses.coordinate_weights(), persistent=False)

    def forward(self, batch: tuple[Tensor, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Crops and landmarks as `face_crops` gives them -> losses with their `total`, and nothing else."""
        crops, truth = batch
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=self.bf16):
            first, refined = self.network.coarse_and_refined(crops.contiguous(memory_format=torch.channels_last))
        losses = {
            "first": face_losses.landmark_loss(first, truth, self.weights),
            "refined": face_losses.landmark_loss(refined, truth, self.weights),
            "opening": face_losses.opening_loss(refined, truth),
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
        terms = face_losses.detector_loss(outputs, self.network.anchors(*scenes.shape[-2:]), *truth)
        return dict(zip(("score", "box", "points"), terms, strict=True)) | {"total": sum(terms)}, {}


def train(options: argparse.Namespace) -> None:
    """Train the landmark regressor, or a detector."""
    recipe = take_recipe(options, RECIPES[options.part])
    engine = start(options)
    cache, bf16 = FrameCache(options.cache, "train"), options.dtype == "bfloat16"
    sampler = FrameSampler(cache)
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
        if options.part == "landmarks":
            batch = face_crops(*sampler.draw(recipe.batch), mirror, config.size)
        else:
            batch = make_scenes(*sampler.draw(recipe.batch * 3), recipe.batch, config.long_side)
        return tuple(tensor.to(engine.device) for tensor in batch)

    fit(run, engine, objective.train(), draw)


def fit_68(options: argparse.Namespace) -> None:
    """The ridge fit from 68 to 468 points, on every good label of the cache -> --file, float16 with float32 mean."""
    cache, check = FrameCache(options.cache, "train"), FrameCache(options.cache, "val")
    numbers = np.flatnonzero(cache.good & ((cache.clip < 0) | (cache.frame % 10 == 0)))
    ridge = fit_ridge(torch.from_numpy(cache.landmarks[numbers]), NOISE)
    half = {name: tensor if name == "mean" else tensor.half() for name, tensor in ridge.items()}
    config = {"landmarks68": {"noise": NOISE, "faces": len(numbers)}}
    save_file(half, options.file, {"config": json.dumps(config)})
    scores = score_68(ridge, check.landmarks[check.good])
    print(json.dumps({"file": options.file, "faces": len(numbers), **scores}))


def score_68(ridge: dict[str, Tensor], landmarks: np.ndarray) -> dict[str, float]:
    """Mean error over face height in percent, from true points and from points with NOISE."""
    truth = torch.from_numpy(landmarks)
    points, scores = truth[:, list(IBUG_POINTS), :2], {}
    radius = ((points - points.mean(1, keepdim=True)) ** 2).sum(-1).mean(-1).sqrt()[:, None, None]
    for name, noise in (("clean", 0.0), ("noisy", NOISE)):
        guess = expand_to_mesh(ridge, points + noise * radius * torch.randn_like(points))
        error = (guess - truth)[..., :2].norm(dim=-1) / face_height(truth)[:, None]
        scores[name] = round(100 * float(error.mean()), 3)
    return scores


def score(options: argparse.Namespace) -> None:
    """Scores of exported weights on the val split, as one JSON object."""
    if options.file is None:
        raise InputError("score needs --file, the exported weights, and --data")
    network = load_face(options.file)
    detector = score_detector(network, FrameCache(options.cache, "val"))
    print(json.dumps({"detector": detector, **score_landmarks(network, options.data)}, indent=1))


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = training_parser(__doc__, fields(Recipe), out="runs/face", device="cpu", threads=1)
    parser.add_argument("--part", required=True, choices=("landmarks", "detector", "ridge", "score"))
    parser.add_argument("--data", default="data", help="folder laid out as scripts.prepare_data writes it (score)")
    parser.add_argument("--cache", default="runs/cache", help="what scripts.training.data decoded")
    parser.add_argument("--file", help="what ridge writes and score reads")
    add_dtype(parser)
    options = parser.parse_args(arguments)
    {"ridge": fit_68, "score": score}.get(options.part, train)(options)


if __name__ == "__main__":
    sys.exit(main())
