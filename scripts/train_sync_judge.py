"""Train the sync judge of the evaluation on clips of the train split; publish its accuracy on val.

    python -m scripts.train_sync_judge --data DIR --lips DIR --out runs/sync
    python -m scripts.train_sync_judge --data DIR --lips DIR --out runs/sync --file checkpoints/sync_judge.safetensors

The second form writes the file and its accuracy inside. No loss of any model may use this network: it judges.

It learns from clips whose licence allows it (no NC) and whose manifest knows the offset of the sound.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import InputError
from anitalker.models import loading
from encoders.speech import SpeechFeatures
from scripts.evaluation.sync_accuracy import accuracy
from scripts.evaluation.sync_judge import SyncJudgeNetwork
from scripts.export import slim, write
from scripts.training.engine import fit, open_run, start
from scripts.training.recipe import Recipe, command, take_recipe, training_parser
from scripts.training.sync_data import prepare
from scripts.training.sync_examples import CORE, MAX_SHIFT, SyncExamples

RECIPE = Recipe(steps=400, batch=24, lr=1e-3, warm=50, decay=0.99, score=200)
DROPOUT = 0.1
NEIGHBOUR = 0.1  # share of the target that either neighbour of the true shift gets: offsets are known to a frame
SUM_GAIN = 6.0  # a mean over CORE frames is surer than a frame
CROSS_WEIGHT, FRAME_WEIGHT = 0.3, 0.3


class SyncObjective(nn.Module):
    """Which shift, which of the other clips, and which frame of the speech belongs to the lips? InfoNCE (van den Oord
    et al. 2018) over means of CORE frames at every shift, over the clips of the batch, and over single frames."""

    target: Tensor

    def __init__(self, network: SyncJudgeNetwork) -> None:
        super().__init__()
        self.network = network
        target = torch.zeros(2 * MAX_SHIFT + 1)
        target[MAX_SHIFT] = 1 - 2 * NEIGHBOUR
        target[[MAX_SHIFT - 1, MAX_SHIFT + 1]] = NEIGHBOUR
        self.register_buffer("target", target, persistent=False)

    def forward(self, batch: tuple[Tensor, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Shapes [B,L,P,2] and features [B,L,S] -> the losses, and nothing else."""
        lips, speech = self.network(*batch)
        scale = self.network.log_scale.exp()
        core = slice(MAX_SHIFT, MAX_SHIFT + CORE)
        cosines = lips[:, core] @ speech.transpose(1, 2) * scale  # [B,CORE,L]: frame n of the core is n + MAX_SHIFT
        near = torch.stack([cosines.diagonal(shift, 1, 2) for shift in range(2 * MAX_SHIFT + 1)], 2)
        means = torch.einsum("atd,btd->ab", lips[:, core], speech[:, core]) * (scale / CORE)
        clips = torch.arange(len(lips), device=lips.device)
        losses = {
            "shift": F.cross_entropy(near.mean(1) * SUM_GAIN, self.target.expand(len(lips), -1)),
            "clip": (F.cross_entropy(means * SUM_GAIN, clips) + F.cross_entropy(means.T * SUM_GAIN, clips)) / 2,
            "frame": F.cross_entropy(near.flatten(0, 1), self.target.expand(near.shape[0] * near.shape[1], -1)),
        }
        total = losses["shift"] + CROSS_WEIGHT * losses["clip"] + FRAME_WEIGHT * losses["frame"]
        return losses | {"total": total}, {}


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    canonical = loading.read("lite")[1]["motion_space.canonical"].float()
    train, val = (prepare(options.data, options.lips, options.cache, split, canonical) for split in ("train", "val"))
    features = SpeechFeatures()
    examples = SyncExamples(train, features, canonical)
    if not examples.clips:
        raise InputError(
            f"{options.data} has no train clip of 3 s whose speaker is seen and heard and whose sound fits"
        )
    sizes = {"width": options.width, "size": options.size, "speech_size": features.size}
    network = SyncJudgeNetwork(**sizes, dropout=DROPOUT)
    network.canonical.copy_(canonical)
    objective = SyncObjective(network).to(engine.device)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=0.05)
    config = {"sync_judge": sizes}
    run = open_run(engine, options, recipe, {"sync_judge": network}, optimizer, config)

    def draw(step: int, seed: int) -> tuple[Tensor, Tensor]:
        shapes, speech = examples.batch(recipe.batch, seed)
        return shapes.to(engine.device), speech.to(engine.device)

    def report(*_: object) -> None:
        for kind, scores in accuracy(run.averaged("sync_judge"), features, val).items():
            run.scores({f"{kind}/{name}": value for name, value in scores.items()})

    fit(run, engine, objective.train(), draw, report)
    if engine.main and options.file:
        scores = accuracy(run.averaged("sync_judge"), features, val)
        tensors = {
            f"sync_judge.{key}": slim(key, value) for key, value in run.averaged("sync_judge").state_dict().items()
        }
        write(Path(options.file), config | {"accuracy": scores, "steps": run.step}, tensors)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/sync", device="cpu", threads=1)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--lips", help="folder of speech beside lip motion: many more speakers")
    parser.add_argument("--cache", default="runs/cache", help="mouth shapes and log-mel of the clips")
    parser.add_argument("--width", type=int, default=128, help="of both towers")
    parser.add_argument("--size", type=int, default=64, help="of an embedding")
    parser.add_argument("--file", help="safetensors file to write, float16, accuracy inside")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
