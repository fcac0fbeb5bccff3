"""Train the matte network: which part of each pixel of a portrait belongs to its people.

    python -m scripts.label_mattes --data DIR --teacher ISNET.onnx --out runs/mattes
    python -m scripts.train_matte --data DIR --labels runs/mattes --backgrounds FOLDER \
        --encoder DIR/nets/squeezenet1_0_imagenet.npz --out runs/matte
    python -m scripts.export runs/matte --kind matte -o checkpoints/matte.safetensors

Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch

from anitalker.config import InputError
from anitalker.matte.network import MatteNetwork
from anitalker.network_config import MatteConfig, to_dict
from scripts.training.engine import fit, open_run, start
from scripts.training.loop import load_module
from scripts.training.matte_data import MatteBatch, MatteSampler, load_backgrounds, load_mattes
from scripts.training.matte_objective import MatteObjective, MatteRecipe, score_mattes
from scripts.training.recipe import command, take_recipe, training_parser

RECIPE = MatteRecipe(steps=6000, batch=8, lr=1e-3, warm=100, decay=0.998, score=500, save_every=300.0)
SCORED = 64  # portraits of val


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    sampler = MatteSampler(load_mattes(options.data, options.labels, "train"), load_backgrounds(options.backgrounds))
    val = load_mattes(options.data, options.labels, "val")
    numbers = np.arange(min(SCORED, len(val.pictures)))
    batches = [val.batch(part) for part in np.array_split(numbers, -(-len(numbers) // recipe.batch))]
    network = MatteNetwork(MatteConfig()).to(memory_format=torch.channels_last)
    if options.start:
        load_module(network, options.start, "matte")
    elif options.encoder:
        network.start_encoder(_read(options.encoder))
    decoder, encoder = _groups(network)
    for part in (network.entry, network.fires4):  # edges and textures: ImageNet has taught enough of them
        part.requires_grad_(False)
    if not recipe.encoder_lr:
        network.fires8.requires_grad_(False)
        network.fires16.requires_grad_(False)
    groups = [{"params": decoder}, {"params": encoder, "lr": recipe.lr * recipe.encoder_lr}]
    optimizer = torch.optim.AdamW(groups, recipe.lr, fused=True)
    run = open_run(engine, options, recipe, {"matte": network}, optimizer, {"matte": to_dict(network.config)})
    objective = MatteObjective(network, recipe).to(engine.device)

    def draw(step: int, seed: int) -> MatteBatch:
        return sampler.draw(recipe.batch, seed).to(engine.device)

    def report(*_: object) -> None:
        averaged = run.averaged("matte")
        assert isinstance(averaged, MatteNetwork)
        run.scores(score_mattes(averaged, [batch.to(engine.device) for batch in batches]))
        shown = batches[0].to(engine.device)
        with torch.no_grad():
            alpha = torch.sigmoid(averaged(shown.pictures))
        rows = shown.pictures, *(x.expand(-1, 3, -1, -1) * 2 - 1 for x in (shown.alpha, alpha))
        run.images("picture, label, ours", torch.cat(rows, 3))

    fit(run, engine, objective.train(), draw, report)


def _groups(network: MatteNetwork) -> tuple[list, list]:
    """Parameters of the decoder, and of the part of the encoder that learns; it has learned before."""
    encoder = [p for part in (network.fires8, network.fires16) for p in part.parameters()]
    still = [p for part in (network.entry, network.fires4) for p in part.parameters()]
    known = {id(parameter) for parameter in (*encoder, *still)}
    return [p for p in network.parameters() if id(p) not in known], encoder


def _read(file: str) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError) as error:
        raise InputError(f"encoder {file!r} is no .npz of SqueezeNet's weights ({error})") from error


def parse(argv: Sequence[str] | None):
    parser = training_parser(__doc__, RECIPE, out="runs/matte", threads=1)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--labels", required=True, help="folder of mattes, made by scripts.label_mattes")
    parser.add_argument("--backgrounds", help="folder of pictures without people")
    parser.add_argument("--encoder", help=".npz with the weights of torchvision's squeezenet1_0, to begin with")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
