"""Train the identity verifier of the evaluation on clips and stills of the train split; publish its error on val.

    python -m scripts.train_verifier --data DIR --out runs/verifier
    python -m scripts.train_verifier --data DIR --out runs/verifier --file checkpoints/verifier.safetensors

The second form writes the file and its equal-error rates inside. No loss of any model may use this network: it judges.

Most people are here in one picture only. Such a still becomes several by the landmark flow: the displacement of a real
clip between two frames moves its points. Where two photographs of a person exist they count as one person, and twenty
such people are kept from the training, because frames of one recording are too easy a test. A step tells people of one
collection apart: between collections, the style of the pictures would be enough.
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

from scripts.evaluation.identity import Person, different_pairs, equal_error, gather, same_pairs
from scripts.evaluation.verifier import WIDTHS, VerifierNetwork
from scripts.export import slim, write
from scripts.training.engine import fit, open_run, start
from scripts.training.labels import prepare_labels
from scripts.training.recipe import Recipe, add_dtype, command, take_recipe, training_parser
from scripts.training.verifier_data import PeopleSampler, Photographs, TrainingSet, augment, make_training_set, unpack

RECIPE = Recipe(steps=2500, batch=64, lr=2e-3, score=0)
TEMPERATURE = 0.1


class ContrastiveObjective(nn.Module):
    """Which of all others in the batch is the same person?"""

    def __init__(self, network: VerifierNetwork, dtype: str) -> None:
        super().__init__()
        self.network, self.bf16 = network, dtype == "bfloat16"

    def forward(self, crops: Tensor, step: int) -> tuple[dict[str, Tensor], dict]:
        """First crops of people, then second ones [2P,4,SIDE,SIDE] -> the loss, and nothing else."""
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=self.bf16):
            embeddings = self.network(crops)
        loss = contrast(*embeddings.chunk(2))
        return {"loss": loss, "total": loss}, {}


def contrast(first: Tensor, second: Tensor) -> Tensor:
    """NT-Xent of unit embeddings [P,D] of two crops each -> scalar, nats (Chen et al., "SimCLR", ICML 2020, eq. 1):
    cross-entropy over cosines / TEMPERATURE, oneself left out.
    """
    both = torch.cat([first, second])
    cosines = (both @ both.T / TEMPERATURE).fill_diagonal_(-1e4)
    return F.cross_entropy(cosines, torch.arange(len(both), device=both.device).roll(len(first)))


@torch.inference_mode()
def embed(network: VerifierNetwork, crops: Tensor) -> np.ndarray:
    """uint8 crops [n,4,SIDE,SIDE] -> unit embeddings [n,D]."""
    device = next(network.parameters()).device
    return torch.cat([network(unpack(batch.to(device))).cpu() for batch in crops.split(128)]).numpy()


def error_rates(network: VerifierNetwork, val: Photographs, kept_out: list[tuple[str, Tensor]]) -> dict[str, dict]:
    """Equal-error rates on val: frames of the clips, of different clips only, and on the two photographs kept out."""
    cache, rng, picks = val.cache, np.random.default_rng(0), val.spread(40)
    embeddings = embed(network, val.crops(picks, network.template.cpu()))
    frames = zip(picks, embeddings, strict=True)
    people = gather([(val.names[n], int(cache.clip[n]), cache.frame[n][None], e[None]) for n, e in frames])
    clips, stills = [p for p in people if (p.clips >= 0).any()], [p for p in people if (p.clips < 0).all()]
    twice = [Person(name, embed(network, c), np.arange(len(c)), np.zeros(len(c))) for name, c in kept_out]
    between = different_pairs(clips, rng)
    trials = {
        "val_clips": (clips, False, between),
        "val_clips_other_recording": (clips, True, between),
        "val_clips_against_stills": (clips, False, different_pairs([*stills, *clips], rng, 4)),
        "two_photographs": (twice, True, different_pairs([*twice, *stills], rng)),
    }
    rates = {}
    for trial, (chosen, across, different) in trials.items():
        same = np.concatenate([np.zeros(0), *(same_pairs(person, rng, across) for person in chosen)])
        if len(same) and len(different):
            rates[trial] = {"equal_error_rate": round(equal_error(same, different)[0], 4), "people": len(chosen)}
            rates[trial] |= {"same": len(same), "different": len(different)}
    return rates


def training_set(folder: Path, *arguments) -> TrainingSet:
    """`make_training_set`, once per run folder."""
    path = folder / "crops.pt"
    if path.is_file():
        return TrainingSet(*torch.load(path, weights_only=True))
    data = make_training_set(*arguments)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save((data.crops, data.people, data.collections, data.kept_out), path)
    return data


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    canonical = prepare_labels(options.data, options.cache).canonical
    network = VerifierNetwork()
    network.set_template(canonical)
    train, val = (Photographs(options.cache, options.data, split) for split in ("train", "val"))
    data = training_set(Path(options.out), train, val, canonical, network.template)
    print(
        f"{len(data.crops)} crops of {len(data.collections)} people, {len(data.kept_out)} people kept out", flush=True
    )
    objective = ContrastiveObjective(network.to(memory_format=torch.channels_last), options.dtype).to(engine.device)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=0.02)
    config = {"verifier": {"widths": list(WIDTHS), "size": network.out.out_features}}
    run = open_run(engine, options, recipe, {"verifier": network}, optimizer, config)
    sampler = PeopleSampler(data.people, data.collections)

    def draw(step: int, seed: int) -> Tensor:
        numbers, _ = sampler.draw(recipe.batch)
        return augment(unpack(data.crops[numbers.flatten()])).to(engine.device)

    fit(run, engine, objective.train(), draw)
    averaged = run.averaged("verifier")
    rates = error_rates(averaged, val, data.kept_out)
    for trial, rate in rates.items():
        print(trial, *(f"{key} {value}" for key, value in rate.items()))
    if options.file:
        tensors = {f"verifier.{key}": slim(key, tensor) for key, tensor in averaged.state_dict().items()}
        write(Path(options.file), config | {"equal_error": rates, "steps": run.step}, tensors)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/verifier", device="cpu", threads=1)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--file", help="safetensors file to write, float16, error rates inside")
    add_dtype(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
