"""Train the motion generator (stage two) on the codes and the sound of clips: flow matching, minutes on a CPU.

    python -m scripts.extract_features --data DIR --out runs/features
    python -m scripts.train_generator --features-dir runs/features --out runs/generator
    python -m scripts.train_generator --out runs/generator-lips --start runs/generator --only-lips
    torchrun --nproc-per-node 2 -m scripts.train_generator --features-dir runs/features --out runs/generator

Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker.config import GeneratorConfig, SpeechConfig, to_dict
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.windows import SamplingParams
from encoders.speech import SpeechFeatures
from scripts.training.engine import fit, open_run, start
from scripts.training.generator_objective import GeneratorObjective, MotionLoss, draw_window
from scripts.training.generator_scores import Speaker, apply_sync, measure_sync, validate
from scripts.training.loop import load_module
from scripts.training.motion_data import MotionExamples, load_motion
from scripts.training.motion_statistics import blink_course, measure
from scripts.training.recipe import Recipe, add_dtype, add_features_dir, command, take_recipe, training_parser

RECIPE = Recipe(steps=4000, batch=32, lr=6e-4, clip=1.0)
LIPS_WIDTH = 160  # of the regression


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    clips, held_out = load_motion(options.features_dir, "train"), load_motion(options.features_dir, "val")
    space, speech = measure(options.features_dir, clips), SpeechConfig()
    features = SpeechFeatures(**to_dict(speech))
    config = GeneratorConfig(
        speech_size=features.size,
        width=options.width,
        layers=options.layers,
        lips_width=LIPS_WIDTH if options.only_lips else 0,
        dropout=options.dropout,
        motion_mean=tuple(space.mean.tolist()),
        motion_std=tuple(space.std.tolist()),
        blink=tuple(map(tuple, blink_course(clips, space.directions).round(5).tolist())),
    )
    network = MotionGenerator(config)
    network.spoken.copy_(torch.from_numpy(space.spoken_normalised))
    if options.start:
        load_module(network, options.start, "generator", new="lips")
    if options.only_lips:
        network.requires_grad_(False).lips.requires_grad_(True)
    objective = GeneratorObjective(network, MotionLoss(space), options.dtype).to(engine.device)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, recipe.lr, betas=(0.9, 0.98), weight_decay=0.03)
    configs = {"generator": to_dict(config), "speech": to_dict(speech)}
    run = open_run(engine, options, recipe, {"generator": network}, optimizer, configs)
    examples = MotionExamples(clips, features, space.spoken)
    sync_at = options.sync_at or recipe.steps

    def averaged() -> Speaker:
        return Speaker(copy.deepcopy(run.averaged("generator")).cpu(), features, space)

    def synchronise() -> None:
        """Find late sound once per run folder, and shift it."""
        path = Path(options.out) / "sync.json"
        if engine.main and not path.is_file():
            path.write_text(json.dumps(measure_sync(averaged(), clips)))
            print("sync: shifted or silenced clips by", path, flush=True)
        engine.wait()
        apply_sync(json.loads(path.read_text()), clips)

    def draw(step: int, seed: int) -> dict[str, Tensor]:
        nonlocal sync_at
        if step >= sync_at:
            synchronise()
            sync_at = recipe.steps
        before, frames = draw_window(np.random.default_rng((options.seed, step)), config)
        batch = examples.batch(recipe.batch, before, frames, seed)
        return {name: value.to(engine.device) for name, value in batch.items()} | {"frames": frames}

    def report(batch: dict[str, Tensor], outputs: dict) -> None:
        if held_out:
            run.scores(validate(averaged(), held_out, SamplingParams()))

    fit(run, engine, objective.train(), draw, report)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/generator", device="cpu")
    add_features_dir(parser)
    second = "second part: the regression from speech to lips, beside --start"
    parser.add_argument("--only-lips", action="store_true", help=second)
    parser.add_argument("--width", type=int, default=GeneratorConfig.width)
    parser.add_argument("--layers", type=int, default=GeneratorConfig.layers)
    parser.add_argument("--dropout", type=float, default=GeneratorConfig.dropout)
    add_dtype(parser)
    parser.add_argument("--sync-at", type=int, default=400, help="step at which late sound is found; 0 never")
    options = parser.parse_args(arguments)
    if options.only_lips and not options.start:
        parser.error("--only-lips came without --start; name the run, or the weights, of the network it stands beside")
    return options


if __name__ == "__main__":
    sys.exit(main())
