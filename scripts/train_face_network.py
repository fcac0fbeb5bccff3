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
import time

import numpy as np
import torch
from torch import Tensor

from anitalker.config import DetectorConfig, InputError, LandmarkConfig, to_dict
from anitalker.faces.face_network import LandmarkRegressor, crop_frame, to_crop
from anitalker.faces.landmarks import eye_opening, face_height, lip_opening
from anitalker.faces.landmarks68 import POINTS, fit_ridge, widen
from scripts.training import face_architectures, face_losses
from scripts.training.data import FrameCache
from scripts.training.loop import Run, load_module, seed_all
from scripts.training.scenes import face_crops, make_scenes, mirror_order

NOISE = (
    0.03  # what is expected of face-alignment, over the root mean square radius of its 68 points (about 1.2% of a face)
)
DEFAULTS = {"landmarks": (5000, 64, 1.5e-3), "detector": (3000, 16, 2e-3)}  # steps, batch, learning rate


def sampling_weights(cache: FrameCache, stills: float = 0.5) -> Tensor:
    """Chance of each frame: half stills; clips by the root of a person's frames; more for blinks and open mouths."""
    still = cache.clip < 0
    frames_of = np.bincount(cache.identity)[cache.identity]
    weight = frames_of**-0.5 * (
        1 + 2.0 * (lip_opening(cache.landmarks) > 0.05) + 3.0 * (eye_opening(cache.landmarks) < 0.18)
    )
    weight = weight * cache.good
    weight[still] *= stills / weight[still].sum()
    weight[~still] *= (1 - stills) / max(weight[~still].sum(), 1e-9)
    return torch.from_numpy(weight)


class Frames:
    """Random training frames: `draw(n)` -> uint8 [n,256,256,3] and landmarks [n,N,3] in crop widths."""

    def __init__(self, cache: FrameCache) -> None:
        self.cache, self.cumulative = cache, np.cumsum(sampling_weights(cache).numpy())

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        place = torch.rand(count, dtype=torch.float64).numpy() * self.cumulative[-1]
        index = np.searchsorted(self.cumulative, place).clip(max=len(self.cumulative) - 1)
        return torch.from_numpy(self.cache.frames[np.sort(index)]), torch.from_numpy(
            self.cache.landmarks[np.sort(index)]
        )


def shape_basis(landmarks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and `count` principal directions (times their spread) of upright shapes, about the crop's middle."""
    shapes = to_crop(landmarks, *crop_frame(landmarks)) - torch.tensor([0.5, 0.5, 0.0])
    flat = shapes.flatten(1)
    mean = flat.mean(0)
    _, spread, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    scaled = directions[:count] * spread[:count, None] / len(flat) ** 0.5
    return mean.view(-1, 3), scaled.view(count, -1, 3)


def learning_rate(step: int, steps: int, peak: float, warm: int = 100, decay: float = 0.4) -> float:
    """Warm-up, plateau, then straight down to a fiftieth over the last `decay` of the run."""
    left = (steps - step) / max(steps * decay, 1)
    return peak * min((step + 1) / warm, 1.0, max(left, 0.02))


def train_landmarks(options: argparse.Namespace) -> None:
    cache = FrameCache(options.cache, "train")
    config = LandmarkConfig()
    network = LandmarkRegressor(config)
    some = torch.from_numpy(cache.landmarks[np.random.permutation(len(cache))[:4000]])
    both = torch.cat([some, some[:, (mirror := mirror_order(some))] * torch.tensor([-1.0, 1.0, 1.0])])
    network.set_shape(*shape_basis(both, config.coefficients))
    weights = face_losses.point_weights()

    def loss_of(frames: Frames) -> tuple[Tensor, dict]:
        crops, truth = face_crops(*frames.draw(options.batch), mirror, config.size)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            first, refined = network.both(crops.contiguous(memory_format=torch.channels_last))
        coarse = face_losses.landmark_loss(first, truth, weights)
        fine = face_losses.landmark_loss(refined, truth, weights)
        opening = face_losses.opening_loss(refined, truth)
        numbers = {"first": coarse.item(), "refined": fine.item(), "opening": opening.item()}
        return coarse + fine + 2.0 * opening, numbers

    loop(options, {"landmarks": network}, {"landmarks": to_dict(config)}, Frames(cache), loss_of)


def train_detector(options: argparse.Namespace) -> None:
    config = DetectorConfig()
    network = face_architectures.build(options.arch, config)

    def loss_of(frames: Frames) -> tuple[Tensor, dict]:
        scenes, *truth = make_scenes(*frames.draw(options.batch * 3), options.batch, config.long_side)
        scenes = scenes.contiguous(memory_format=torch.channels_last)
        terms = face_architectures.losses(network, scenes, *truth, options.bf16)
        return sum(terms.values()), {name: term.item() for name, term in terms.items()}

    # Under a name of its own, what is not ours is never exported.
    name = "detector" if options.arch == "own" else "compared"
    loop(options, {name: network}, {name: to_dict(config)}, Frames(FrameCache(options.cache, "train")), loss_of)


def loop(options: argparse.Namespace, modules: dict, config: dict, frames: Frames, loss_of) -> None:
    """The recipe that both networks share: AdamW, warm-up, plateau, decay, EMA."""
    (name, network), *_ = modules.items()
    if options.start:
        load_module(network, options.start, name)
    network.to(memory_format=torch.channels_last)
    plain = [p for p in network.parameters() if p.ndim < 2]
    heavy = [p for p in network.parameters() if p.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": heavy, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], options.rate
    )
    recipe = {k: getattr(options, k) for k in ("part", "arch", "steps", "batch", "rate", "seed", "bf16")}
    run = Run(
        options.out, {**config, **recipe}, modules, optimizer, options.steps, options.batch, ema=0.998, save_every=60
    )
    run.resume()
    network.train()
    for step in run.steps():
        rate = learning_rate(step, options.steps, options.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(options.seed * 1_000_003 + step)  # the same scenes, however much a network draws itself
        loss, numbers = loss_of(frames)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        run.log(loss=loss.item(), rate=rate, **numbers, cpu_minutes=time.process_time() / 60)


def fit_68(options: argparse.Namespace) -> None:
    """The ridge fit from 68 to 468 points, on every good label of the cache -> --file, float16 with float32 mean."""
    from safetensors.torch import save_file

    cache = FrameCache(options.cache, "train")
    order = np.flatnonzero(cache.good & ((cache.clip < 0) | (cache.frame % 10 == 0)))
    fit = fit_ridge(torch.from_numpy(cache.landmarks[order]), NOISE)
    half = {name: tensor if name == "mean" else tensor.half() for name, tensor in fit.items()}
    save_file(half, options.file, {"config": json.dumps({"landmarks68": {"noise": NOISE, "faces": len(order)}})})
    check = FrameCache(options.cache, "val")
    print(json.dumps({"file": options.file, "faces": len(order), **score_68(fit, check.landmarks[check.good])}))


def score_68(fit: dict[str, Tensor], landmarks: np.ndarray) -> dict[str, float]:
    """Mean error over face height in percent, from true points and from points with NOISE."""
    truth = torch.from_numpy(landmarks)
    points, scores = truth[:, list(POINTS), :2], {}
    radius = ((points - points.mean(1, keepdim=True)) ** 2).sum(-1).mean(-1).sqrt()[:, None, None]
    for name, noise in (("clean", 0.0), ("noisy", NOISE)):
        guess = widen(fit, points + noise * radius * torch.randn_like(points))
        error = (guess - truth)[..., :2].norm(dim=-1) / face_height(truth)[:, None]
        scores[name] = round(100 * float(error.mean()), 3)
    return scores


def score(options: argparse.Namespace) -> None:
    """Scores of exported weights on the val split, as one JSON object."""
    from anitalker.models.loading import load_face
    from scripts.training.face_scores import score_detector, score_landmarks

    if options.file is None:
        raise InputError("score needs --file, the exported weights, and --data")
    network = load_face(options.file)
    cache = FrameCache(options.cache, "val")
    result = {"detector": score_detector(network, cache), **score_landmarks(network, options.data)}
    print(json.dumps(result, indent=1))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", required=True, choices=("landmarks", "detector", "ridge", "score"))
    arches = face_architectures.ARCHITECTURES
    parser.add_argument("--arch", choices=arches, default="own", help="of the detector; others are only compared")
    parser.add_argument(
        "--data", default="data", help="folder laid out as scripts.prepare_data writes it (ridge, score)"
    )
    parser.add_argument("--cache", default="runs/cache", help="what scripts.training.data decoded")
    parser.add_argument("--out", default="runs/face", help="run folder")
    parser.add_argument("--start", help="run folder, or weights, whose network to begin with")
    parser.add_argument("--file", help="what ridge writes and score reads")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    for name, value in zip(("steps", "batch", "rate"), DEFAULTS.get(options.part, ()), strict=False):
        if getattr(options, name) is None:
            setattr(options, name, value)
    torch.set_num_threads(options.threads)
    seed_all(options.seed)
    {"landmarks": train_landmarks, "detector": train_detector, "ridge": fit_68, "score": score}[options.part](options)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
