"""Train the iris locator on decoded frames with the labels of scripts.label_irises.

    python -m scripts.train_iris --cache runs/cache --out runs/iris --file checkpoints/iris.safetensors

`--file` is written at the end: float16, with its error on val inside. The same command continues a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.decoder.eyelids import eye_axes
from anitalker.decoder.iris import IrisNetwork, eye_patches
from anitalker.network_config import IrisConfig, to_dict
from encoders.image import to_tensor
from scripts.export import slim, write
from scripts.label_irises import EyeLabels, read_labels
from scripts.training.augment import colour
from scripts.training.data import FrameCache
from scripts.training.engine import fit, open_run, start
from scripts.training.recipe import Recipe, command, take_recipe, training_parser

RECIPE = Recipe(steps=4000, batch=48, lr=2e-3, decay=0.998, score=500)
CORNER_ERROR = 0.04  # eye widths: of the face network's landmarks
STILLS = 0.3  # share of frames
HIDDEN = 0.15  # share of patches of which a part is covered, so that the expected error means something
RADIUS_WEIGHT, RADIUS_ERROR = 0.5, 0.02


class IrisObjective(nn.Module):
    """Laplace likelihood of the centre's distance, and the radius."""

    def __init__(self, network: IrisNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: tuple[Tensor, Tensor, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Patches [n,3,32,48], centres [n,2] and radii [n] in eye widths -> losses, and nothing else."""
        patches, centre, radius = batch
        found, size, log_error = self.network(patches)
        distance = (found - centre).norm(dim=1)
        likelihood = (distance * torch.exp(-log_error) + log_error).mean()
        sizes = F.l1_loss(size, radius) / RADIUS_ERROR
        losses = {"distance": distance.mean(), "likelihood": likelihood, "radius": sizes}
        return losses | {"total": likelihood + RADIUS_WEIGHT * sizes}, {}


class EyeSampler:
    """Draws eye patches with their irises from decoded frames in which both eyes are open."""

    def __init__(self, cache: FrameCache, labels: EyeLabels) -> None:
        self.cache, self.labels = cache, labels
        usable = labels.usable(cache.landmarks) & cache.good
        allowed = np.array(["NC" not in row.get("licence", "") for row in cache.rows] + [True])  # the last: stills
        usable &= allowed[cache.clip]
        numbers = np.flatnonzero(usable)
        people = cache.identity[numbers]
        weight = np.bincount(people)[people] ** -0.5
        moving = cache.clip[numbers] >= 0
        for part, share in ((moving, 1 - STILLS), (~moving, STILLS)):
            if part.any():
                weight[part] *= share / weight[part].sum()
        self.numbers, self.weight = numbers, weight / weight.sum()

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Patches of `count` frames [2 count,3,32,48], misplaced and changed, and their centres and radii."""
        numbers = np.random.default_rng(seed).choice(self.numbers, count, p=self.weight)
        pictures, landmarks = self.cache.draw(numbers)
        misplaced = landmarks + CORNER_ERROR * 0.11 * torch.randn_like(landmarks)
        patches, centre, radius = self.see(to_tensor(pictures), misplaced, numbers)
        return degrade(hide(colour(patches, 0.6))), centre, radius

    def see(self, pictures: Tensor, landmarks: Tensor, numbers: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Patches about landmarks, and where the labels lie in their axes."""
        corner, axes = eye_axes(landmarks[..., :2])
        width = axes[:, :, 0].norm(dim=-1)
        iris = torch.from_numpy(self.labels.iris[numbers]) - corner
        centre = (axes @ iris[..., None]).squeeze(-1) / width[..., None].square()
        radius = torch.from_numpy(self.labels.radius[numbers]) / width
        return eye_patches(pictures, landmarks), centre.flatten(0, 1), radius.flatten()


def hide(patches: Tensor) -> Tensor:
    """Cover a half plane, or all but a little of the light, in some patches; changes its argument."""
    height, width = patches.shape[-2:]
    y, x = torch.meshgrid(torch.linspace(-0.5, 0.5, height), torch.linspace(-0.75, 0.75, width), indexing="ij")
    for n in torch.nonzero(torch.rand(len(patches)) < HIDDEN).flatten().tolist():
        angle, offset = 2 * np.pi * torch.rand(()), 0.4 * torch.rand(())
        cover = (x * torch.cos(angle) + y * torch.sin(angle) > offset - 0.2).float()
        tone, strength = 2 * torch.rand(3, 1, 1) - 1, 0.7 + 0.3 * torch.rand(())
        patches[n] += strength * cover * (tone - patches[n])
    return patches


def degrade(patches: Tensor) -> Tensor:
    """A third of the patches lose resolution, a third get noise; changes its argument."""
    size = patches.shape[-2:]
    for n in torch.nonzero(torch.rand(len(patches)) < 0.33).flatten().tolist():
        small = F.interpolate(patches[n : n + 1], scale_factor=0.25 + 0.5 * float(torch.rand(())), mode="area")
        patches[n] = F.interpolate(small, size=size, mode="bilinear")[0]
    noisy = (torch.rand(len(patches), 1, 1, 1) < 0.33) * 0.1 * torch.rand(len(patches), 1, 1, 1)
    return patches.add_(noisy * torch.randn_like(patches)).clamp_(-1, 1)


@torch.inference_mode()
def score(network: IrisNetwork, sampler: EyeSampler, most: int = 1500) -> dict[str, float]:
    """Errors of centres in eye widths, of radii as a share, and how well the expected error ranks them."""
    chosen = sampler.numbers[np.linspace(0, len(sampler.numbers) - 1, min(most, len(sampler.numbers))).astype(int)]
    errors, sizes, expected = [], [], []
    for numbers in np.array_split(chosen, -(-len(chosen) // 64)):
        pictures, landmarks = sampler.cache.draw(numbers)
        patches, centre, radius = sampler.see(to_tensor(pictures), landmarks, numbers)
        found, size, log_error = network(patches)
        errors.append((found - centre).norm(dim=1))
        sizes.append((size / radius - 1).abs())
        expected.append(log_error)
    error, size = torch.cat(errors), torch.cat(sizes)
    ranks = torch.stack([values.argsort().argsort().float() for values in (error, torch.cat(expected))])
    scores = {"mean": error.mean(), "median": error.median(), "p90": error.quantile(0.9), "radius": size.mean()}
    return {name: round(float(value), 4) for name, value in (scores | {"rank": torch.corrcoef(ranks)[0, 1]}).items()}


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    train, val = (
        EyeSampler(FrameCache(options.cache, split), read_labels(options.cache, split)) for split in ("train", "val")
    )
    network = IrisNetwork(IrisConfig())
    objective = IrisObjective(network).to(engine.device)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=0.02)
    config = {"iris": to_dict(network.config)}
    run = open_run(engine, options, recipe, {"iris": network}, optimizer, config)

    def draw(step: int, seed: int) -> tuple[Tensor, ...]:
        return tuple(field.to(engine.device) for field in train.draw(recipe.batch, seed))

    def report(*_: object) -> None:
        run.scores(score(run.averaged("iris").cpu(), val))

    fit(run, engine, objective.train(), draw, report)
    if options.file and engine.main:
        averaged = run.averaged("iris")
        tensors = {f"iris.{key}": slim(key, tensor) for key, tensor in averaged.state_dict().items()}
        write(Path(options.file), config | {"error": score(averaged.cpu(), val), "steps": run.step}, tensors)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/iris", device="cpu", threads=1)
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--file", help="safetensors file to write, float16, errors inside")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
