"""Train the lip regressor: speech alone -> expression, beside a motion generator that stays as it is.

    python -m scripts.extract_features --data DIR --lips DIR --out runs/features
    python -m scripts.train_lip_regressor --features-dir runs/features --phonetic runs/phonetic --out runs/lips
    python -m scripts.export checkpoints/lite.safetensors runs/lips -o lite.safetensors

The run keeps generator and phonetic encoder together, because the regressor fits no other encoder.
Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from anitalker.config import POSE_SIZE, SpeechConfig, to_dict
from anitalker.motion.generator import MotionGenerator
from encoders.audio import normalise_level
from encoders.speech import SpeechFeatures
from scripts.evaluation.metrics import pearson
from scripts.training.engine import fit, open_run, start
from scripts.training.generator_start import begin_at, parts_of, phonetic_of
from scripts.training.lip_loss import LipLoss, mouth_readout
from scripts.training.motion_data import MotionClip, MotionExamples, even_spread, load_motion, measure
from scripts.training.recipe import Recipe, add_dtype, add_features_dir, command, take_recipe, training_parser
from scripts.training.sound_augment import SoundAugment

RECIPE = Recipe(steps=3000, batch=24, lr=1e-3, clip=1.0, warm=200, decay=0.995, score=250)
WIDTH = 160
NOISE = 0.1  # added to the measured features, whose spread is about one
WINDOW = (32, 110)  # frames


class LipObjective(nn.Module):
    """The regressor and its losses as one module; only speakers who are seen count."""

    def __init__(self, network: MotionGenerator, loss: LipLoss, noisy: int, dtype: str) -> None:
        super().__init__()
        self.network, self.loss, self.noisy, self.bf16 = network, loss, noisy, dtype == "bfloat16"

    def forward(self, batch: dict[str, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Windows as `MotionExamples.batch` makes them -> losses with their `total`, and nothing else."""
        speech = batch["speech"].clone()
        speech[..., : self.noisy] += NOISE * torch.randn_like(speech[..., : self.noisy])
        truth = self.network.normalise(batch["motion"], batch["start"]).clamp(-6, 6)
        assert self.network.lips is not None  # `begin_at` was told a width
        with torch.autocast(speech.device.type, torch.bfloat16, enabled=self.bf16):
            estimate = self.network.lips(speech).float()
        losses = self.loss(estimate, truth, batch["good"].float() * (~batch["deaf"]).float()[:, None])
        return losses | {"total": sum(losses.values())}, {}


@torch.no_grad()
def lip_scores(
    network: MotionGenerator, heard: Sequence[Tensor], clips: Sequence[MotionClip], opening: Tensor
) -> dict[str, float]:
    """Correlation of the lip opening at zero lag and its spread over the true one, means over people.

    heard: speech features [T,S] of each clip; opening [14]: readout of `mouth_readout`. Filmed and generated apart.
    """
    people: dict[str, dict[str, list]] = {"filmed": defaultdict(list), "generated": defaultdict(list)}
    assert network.lips is not None
    for speech, clip in zip(heard, clips, strict=True):
        expression = (network.lips(speech[None]) * network.std)[0, :, -len(opening) :]
        lips, truth = (expression @ opening).numpy(), clip.lips
        count = min(len(lips), len(truth))
        kind = "filmed" if clip.row["generated"] == "no" else "generated"
        values = pearson(lips[:count], truth[:count]), lips.std() / max(truth.std(), 1e-6)
        people[kind][clip.row["identity"]].append(values)
    scores = {}
    for kind, values in people.items():
        if values:
            correlation, spread = np.mean([np.mean(person, 0) for person in values.values()], 0)
            scores |= {kind: float(correlation), f"{kind}_spread": float(spread)}
    return scores


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    clips = [clip for clip in load_motion(options.features_dir, "train") if clip.speaks]
    held_out = [clip for clip in load_motion(options.features_dir, "val") if clip.speaks]
    space, phonetic = measure(options.features_dir, clips), phonetic_of(options.phonetic or options.start)
    even_spread(clips, space.spoken)
    features = SpeechFeatures(**to_dict(SpeechConfig()), phonetic=phonetic)
    network = begin_at(options.start, features.size, options.width)
    network.requires_grad_(False)
    assert network.lips is not None
    network.lips.requires_grad_(True)
    readout = mouth_readout(torch.from_numpy(space.directions).float())
    expressions = np.concatenate([clip.codes[:, POSE_SIZE:] - clip.codes[:, POSE_SIZE:].mean(0) for clip in clips])
    shape_std = torch.from_numpy((expressions @ readout.numpy()).std(0)).float()
    loss = LipLoss(network.std, readout, shape_std)
    objective = LipObjective(network, loss, features.acoustic_size, options.dtype).to(engine.device)
    optimizer = torch.optim.AdamW(network.lips.parameters(), recipe.lr, betas=(0.9, 0.98), weight_decay=0.02)
    modules, configs = parts_of(network, phonetic)
    run = open_run(engine, options, recipe, modules, optimizer, configs)
    noises = [(clip.sound * 32767).astype(np.int16) for clip in clips[:: max(1, len(clips) // 200)]]
    examples = MotionExamples(clips, features, space.spoken, SoundAugment(noises))
    with torch.no_grad():
        heard = [features(normalise_level(torch.from_numpy(clip.sound))) for clip in held_out]

    def draw(step: int, seed: int) -> dict[str, Tensor]:
        frames = int(np.random.default_rng((options.seed, step)).integers(*WINDOW))
        batch = examples.batch(recipe.batch, 2, frames, seed)
        return {name: value.to(engine.device) for name, value in batch.items()}

    def report(batch: dict[str, Tensor], outputs: dict) -> None:
        if held_out:
            averaged = run.averaged("generator").cpu()
            run.scores(lip_scores(averaged, heard, held_out, readout[:, 0]))

    fit(run, engine, objective.train(), draw, report)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/lips", device="cpu", threads=1)
    add_features_dir(parser)
    parser.set_defaults(start="checkpoints/lite.safetensors")
    parser.add_argument("--phonetic", metavar="RUN", help="phonetic encoder to hear; by default that of --start")
    parser.add_argument("--width", type=int, default=WIDTH)
    add_dtype(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
