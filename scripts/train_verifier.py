"""Train the identity verifier of the evaluation on clips and stills of the train split; publish its error on val.

    python -m scripts.train_verifier --data DIR --out runs/verifier
    python -m scripts.train_verifier --data DIR --out runs/verifier --file checkpoints/verifier.safetensors

The second form writes the file and its equal-error rates inside. No loss of any model may use this network: it judges.

Most people are here in one picture only: such a still is paired with itself under the motion of a clip.
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
from torchvision.transforms import v2

from anitalker.faces.verifier import WIDTHS, VerifierNetwork, face_crops
from encoders.image import to_tensor
from scripts.evaluation.identity import different_pairs, equal_error, gather, same_pairs
from scripts.export import slim, write
from scripts.training.augment import apply_to_share, colour, degrade, random_similarity
from scripts.training.codes import label_space
from scripts.training.data import FrameCache
from scripts.training.engine import fit, open_run, start
from scripts.training.labels import prepare_labels
from scripts.training.pairs import PairSampler, animate_stills
from scripts.training.recipe import Recipe, add_dtype, command, take_recipe, training_parser

RECIPE = Recipe(steps=2500, batch=64, lr=2e-3, score=0)
STILLS = 0.5  # share of pairs
FRAME_SIZE = 128  # pixels of the frames that are learned from: a face of 70 becomes a crop of 64
TEMPERATURE = 0.1
FRAMES_PER_PERSON = 40  # of val


class ContrastiveObjective(nn.Module):
    """Which of all others in the batch are the same person?"""

    def __init__(self, network: VerifierNetwork, dtype: str) -> None:
        super().__init__()
        self.network, self.bf16 = network, dtype == "bfloat16"

    def forward(self, batch: tuple[Tensor, Tensor], step: int) -> tuple[dict[str, Tensor], dict]:
        """Crops [B,4,SIDE,SIDE] and their people [B] -> the loss, and nothing else."""
        crops, people = batch
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=self.bf16):
            embeddings = self.network(crops)
        loss = contrast(embeddings, people)
        return {"loss": loss, "total": loss}, {}


def contrast(embeddings: Tensor, people: Tensor) -> Tensor:
    """Supervised contrastive loss of unit embeddings [B,D] -> scalar, nats (Khosla et al. 2020, eq. 2): cross-entropy
    over cosines / TEMPERATURE, oneself left out. Every person is there twice or more.
    """
    cosines = (embeddings @ embeddings.T / TEMPERATURE).fill_diagonal_(-1e4)
    same = (people[:, None] == people).float().fill_diagonal_(0)
    return F.cross_entropy(cosines, same / same.sum(1, keepdim=True))


def augment(crops: Tensor) -> Tensor:
    """Misplaced, mirrored, recoloured and degraded crops [B,4,SIDE,SIDE], a patch of some masks erased."""
    crops = torch.where(torch.rand(len(crops), 1, 1, 1) < 0.5, crops.flip(3), crops)
    crops = random_similarity(len(crops), 0.08, 0.06, 0.025).pictures(crops)
    mask = apply_to_share(crops[:, 3:].clone(), 0.4, v2.RandomErasing(1.0, (1 / 9, 1 / 9), (1, 1)))
    return torch.cat([degrade(colour(crops[:, :3].clone(), 0.8)), mask], 1)


@torch.inference_mode()
def embed(network: VerifierNetwork, cache: FrameCache, numbers: np.ndarray) -> np.ndarray:
    """Unit embeddings [n,D] of frames by number."""
    device, template, embeddings = next(network.parameters()).device, network.template.cpu(), []
    for batch in np.array_split(numbers, -(-len(numbers) // 64)):
        frames, landmarks = cache.draw(batch)
        embeddings.append(network(face_crops(to_tensor(frames), landmarks, template).to(device)).cpu())
    return torch.cat(embeddings).numpy()


def spread_frames(cache: FrameCache) -> np.ndarray:
    """Numbers of at most FRAMES_PER_PERSON good frames of each person in clips, evenly over all that there are."""
    picks, good = [], cache.good & (cache.clip >= 0)
    for person in np.unique(cache.identity[good]):
        frames = np.flatnonzero((cache.identity == person) & good)
        picks.append(frames[np.linspace(0, len(frames) - 1, min(FRAMES_PER_PERSON, len(frames))).round().astype(int)])
    return np.concatenate(picks)


def error_rate(network: VerifierNetwork, cache: FrameCache) -> dict[str, float]:
    """Equal-error rate on frames of clips a second apart, and how many people and pairs it rests on."""
    rng, picks = np.random.default_rng(0), spread_frames(cache)
    frames = zip(picks, embed(network, cache, picks), strict=True)
    people = gather([(str(cache.identity[n]), int(cache.clip[n]), cache.frame[n][None], e[None]) for n, e in frames])
    same = np.concatenate([same_pairs(person, rng) for person in people])
    different = different_pairs(people, rng)
    rate = round(equal_error(same, different)[0], 4)
    return {"equal_error_rate": rate, "people": len(people), "same": len(same), "different": len(different)}


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    labels = prepare_labels(options.data, options.cache)
    network = VerifierNetwork().to(memory_format=torch.channels_last)
    network.set_template(labels.canonical)
    template = network.template.clone()
    train, val = FrameCache(options.cache, "train", FRAME_SIZE), FrameCache(options.cache, "val")
    objective = ContrastiveObjective(network, options.dtype).to(engine.device)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=0.02)
    config = {"verifier": {"widths": list(WIDTHS), "size": network.out.out_features}}
    run = open_run(engine, options, recipe, {"verifier": network}, optimizer, config)
    sampler, space = PairSampler(train, labels, STILLS), label_space(labels, train)

    def draw(step: int, seed: int) -> tuple[Tensor, Tensor]:
        pairs = animate_stills(sampler.draw(recipe.batch, seed), space)
        pictures = torch.cat([pairs.picture_a, pairs.picture_b])
        crops = face_crops(pictures, torch.cat([pairs.landmarks_a, pairs.landmarks_b]), template)
        return augment(crops).to(engine.device), pairs.identity.repeat(2).to(engine.device)

    fit(run, engine, objective.train(), draw)
    if not engine.main:
        return
    averaged = run.averaged("verifier")
    rates = {"val_clips": error_rate(averaged, val)}
    print(rates)
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
