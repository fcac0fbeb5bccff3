"""Train the mouth synthesiser: lips, teeth and tongue from a warped portrait and references of the same person.

    python -m scripts.train_mouth --data DIR --perceptual-network DIR/nets/squeezenet1_0_imagenet.npz --out runs/mouth
    python -m scripts.export checkpoints/lite.safetensors runs/mouth -o lite.safetensors

Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from anitalker.config import InputError
from anitalker.decoder.mouth import MouthSynthesizer, lay_over
from anitalker.models import loading
from anitalker.network_config import MouthConfig, to_dict
from scripts.training.data import FrameCache, build_cache
from scripts.training.engine import fit, open_run, start
from scripts.training.labels import motion_labels
from scripts.training.loop import load_module
from scripts.training.losses import PerceptualLoss, feature_network
from scripts.training.mouth_data import MouthBatch, MouthSampler
from scripts.training.mouth_objective import MouthObjective, MouthRecipe, change_colours
from scripts.training.mouth_pack import LABELS, unpack
from scripts.training.mouth_score import draw as draw_patches
from scripts.training.mouth_score import score_mouths, validation_batches
from scripts.training.recipe import command, take_recipe, training_parser

RECIPE = MouthRecipe(steps=125_000, batch=16, lr=1e-3, warm=300, clip=1.0, decay=0.999, score=2000, save_every=600.0)
REFERENCES = {1: 0.5, 2: 0.15, 3: 0.1, 4: 0.15, 6: 0.05, 8: 0.05}  # how many, how often
NEIGHBOURS_EVERY = 4  # steps: a batch of neighbouring frames


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    space = loading.read(options.model)[1]
    axes = space["motion_space.canonical"], space["motion_space.directions"]
    if options.pack:
        unpack(options.pack, options.cache)
    elif options.data:
        for split in ("train", "val"):
            build_cache(options.data, options.cache, split)
    else:
        raise InputError("neither --data DIR nor --pack FILE was given; one is required")
    labels = motion_labels(options.data, Path(options.cache) / LABELS, axes)
    train = FrameCache(options.cache, "train")
    train.hold(engine.device)
    sampler = MouthSampler(train, labels, recipe.stills, engine.device)
    batches = validation_batches(FrameCache(options.cache, "val"), labels)
    network = MouthSynthesizer(MouthConfig()).to(memory_format=torch.channels_last)
    if options.start:
        load_module(network, options.start, "mouth")
    objective = MouthObjective(network, recipe, options.perceptual_network).to(engine.device)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, betas=(0.5, 0.99), fused=True)
    config = {"mouth": to_dict(network.config)}
    run = open_run(engine, options, recipe, {"mouth": network}, optimizer, config, objective.adversaries)
    features = feature_network(options.perceptual_network)
    judge = None if features is None else PerceptualLoss(features).to(engine.device).eval()

    def draw(step: int, seed: int) -> MouthBatch:
        rng = np.random.default_rng(seed)
        references = int(rng.choice(list(REFERENCES), p=list(REFERENCES.values())))
        neighbours = step % NEIGHBOURS_EVERY == 0
        count = recipe.batch // 2 if neighbours else recipe.batch
        batch = sampler.draw(count, references, seed, neighbours)
        if not neighbours:
            change_colours(batch, recipe.jitter)
        return batch

    def report(*_: object) -> None:
        averaged = run.averaged("mouth")
        if not batches:
            return
        if judge is not None:
            run.scores(score_mouths(averaged, [batch.to(engine.device) for batch in batches], judge))
        shown = batches[0].to(engine.device)
        with torch.no_grad():
            drawn = (lay_over(shown.warped, draw_patches(averaged, shown, count)) for count in (1, 4))
        rows = shown.target, shown.warped, *drawn
        run.images("target, warp, one, four", torch.cat(rows, 3))

    fit(run, engine, objective.train(), draw, report)


def parse(argv: Sequence[str] | None):
    parser = training_parser(__doc__, RECIPE, out="runs/mouth", threads=1)
    parser.add_argument("--data", help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--pack", help="file of scripts.training.mouth_pack in place of --data")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--model", default="lite", help="whose motion directions the codes are of")
    network = "of the perceptual loss: vgg19 (fetched by torchvision), none, or a file (.npz of SqueezeNet 1.0)"
    parser.add_argument("--perceptual-network", default="vgg19", help=network)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
