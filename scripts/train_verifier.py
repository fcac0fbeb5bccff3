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
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import CROP, MotionSpaceConfig
from anitalker.decoder.flow import landmark_flow, resize, warp
from anitalker.faces.landmarks import from_canonical
from anitalker.faces.similarity_transform import Similarity
from encoders.image import to_tensor
from scripts.evaluation.held import group_of
from scripts.evaluation.identity import Person, different_pairs, equal_error, gather, same_pairs
from scripts.evaluation.verifier import SIDE, WIDTHS, VerifierNetwork, face_crops
from scripts.training.data import FrameCache, build_cache, manifest
from scripts.training.labels import MotionLabels, align, build_labels
from scripts.training.loop import Run, schedule, seed_all

PER_PERSON = 60  # frames of a person's clips
MOVED = 3  # animated copies of a still
KEPT_OUT = 20  # people with two photographs
GRID = 32  # of the landmark flow
PATCH = SIDE // 3  # side of what is hidden now and then
TEMPERATURE = 0.1
FEW = 16  # people of a collection that makes a group of its own


def still_person(row: dict) -> str:
    """Who a still shows: each its own person, but for the set whose file names begin with the person's number."""
    number = re.search(r"inst/(?:neutral|smiling)_front/(\d+)_", row["source_path"])
    return f"london-{number[1]}" if number else f"still-{row['id']}"


def people_of(cache: FrameCache, rows: list[dict]) -> np.ndarray:
    """Name of the person in every frame of a cache; rows: manifest rows of its stills, in the cache's order."""
    names = [cache.rows[clip]["identity"] for clip in cache.clip[cache.clip >= 0]]
    return np.array(names + [still_person(row) for row in rows])


def still_rows(data_dir: str, split: str) -> list[dict]:
    """Manifest rows of a split's stills."""
    return [row for row in manifest(data_dir, "stills") if row["split"] == split]


def spread_frames(cache: FrameCache, names: np.ndarray, count: int) -> np.ndarray:
    """Numbers of at most `count` good frames of each person, evenly over everything that there is of them."""
    picks = []
    for name in dict.fromkeys(names):
        own = np.flatnonzero((names == name) & cache.good)
        picks.append(own[np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(int)] if len(own) else own)
    return np.concatenate(picks)


@torch.no_grad()
def animated(cache: FrameCache, stills: np.ndarray, canonical: Tensor, rng: np.random.Generator) -> tuple:
    """Stills under the displacement and turn of random clips: pictures [B,3,256,256] and landmarks [B,N,3]."""
    pictures, marks = to_tensor(torch.from_numpy(cache.frames[stills])), torch.from_numpy(cache.landmarks[stills])
    shape, pose = align(marks, canonical)
    moving = np.flatnonzero((cache.clip >= 0) & cache.good)
    starts = rng.choice(moving, len(stills))
    ends = np.array([rng.choice(moving[cache.clip[moving] == cache.clip[start]]) for start in starts])
    (before, turned_from), (after, turned_to) = (
        align(torch.from_numpy(cache.landmarks[moments]), canonical) for moments in (starts, ends)
    )
    turn = (turned_to - turned_from)[:, :3].clamp(-0.25, 0.25)
    moved = from_canonical(shape + after - before, torch.cat([pose[:, :3] + turn, pose[:, 3:]], 1))
    moved[..., 2] += marks[..., 2].mean(1, keepdim=True) - moved[..., 2].mean(1, keepdim=True)
    flow = landmark_flow(marks, moved, GRID, 1e-3)
    return warp(pictures, resize(flow, (CROP, CROP))), moved


@torch.no_grad()
def crops_of(cache: FrameCache, picks: np.ndarray, template: Tensor, batch: int = 64) -> Tensor:
    """Aligned crops uint8 [n,4,SIDE,SIDE] of frames of a cache."""
    made = []
    for start in range(0, len(picks), batch):
        here = picks[start : start + batch]
        pictures = to_tensor(torch.from_numpy(cache.frames[here]))
        made.append(pack(face_crops(pictures, torch.from_numpy(cache.landmarks[here]), template)))
    return torch.cat(made)


def pack(crops: Tensor) -> Tensor:
    """float [B,4,H,W], colours in [-1,1], mask in 0..1 -> uint8."""
    return torch.cat([(crops[:, :3] + 1) * 127.5, crops[:, 3:] * 255], 1).round().clamp(0, 255).to(torch.uint8)


def unpack(crops: Tensor) -> Tensor:
    """The inverse of `pack`."""
    crops = crops.float()
    return torch.cat([crops[:, :3] / 127.5 - 1, crops[:, 3:] / 255], 1)


def augment(crops: Tensor) -> Tensor:
    """Place, size, roll, mirror; light from one side, colour, contrast, blur, noise, patches; float [B,4,SIDE,SIDE]."""
    count = len(crops)
    spread = torch.rand(4, count) * 2 - 1
    change = Similarity(spread[0] * 0.08, spread[1] * 0.06, (spread[2:] * 0.025).T)
    crops = change.pictures(torch.where(torch.rand(count, 1, 1, 1) < 0.5, crops.flip(3), crops))
    colours, mask = crops[:, :3], crops[:, 3:]
    colours = ((colours + 1) / 2).clamp(1e-3, 1) ** (torch.randn(count, 1, 1, 1) * 0.35).exp() * 2 - 1
    grey = colours.mean(1, keepdim=True)
    saturation = torch.rand(count, 1, 1, 1) * 1.4
    colours = grey + saturation * (colours - grey)
    colours = colours * (1 + 0.3 * torch.randn(count, 3, 1, 1)) + 0.3 * torch.randn(count, 3, 1, 1)
    axis = torch.linspace(-1, 1, SIDE)
    slope = torch.randn(2, count, 1, 1, 1) * 0.25
    colours = colours + slope[0] * axis + slope[1] * axis[:, None]
    for i in torch.nonzero(torch.rand(count) < 0.5).flatten().tolist():
        small = int(torch.randint(SIDE // 3, SIDE, ()))
        low = F.interpolate(colours[i : i + 1], size=small, mode="bilinear", antialias=True, align_corners=False)
        colours[i] = F.interpolate(low, size=SIDE, mode="bilinear", align_corners=False)[0]
    colours = colours + torch.randn_like(colours) * 0.1 * torch.rand(count, 1, 1, 1)
    for i in torch.nonzero(torch.rand(count) < 0.4).flatten().tolist():
        top, left = (int(torch.randint(0, SIDE - PATCH, ())) for _ in range(2))
        mask[i, :, top : top + PATCH, left : left + PATCH] = 0
    return torch.cat([colours, mask], 1)


def training_set(arguments: argparse.Namespace, canonical: Tensor, template: Tensor) -> tuple:
    """Crops uint8 [n,4,SIDE,SIDE], number of the person of each [n], name of every person's collection, and the people
    kept out: (name, crops).

    Made once per run folder.
    """
    stored = Path(arguments.out) / "crops.pt"
    if stored.is_file():
        return torch.load(stored, weights_only=True)
    cache, rows = FrameCache(arguments.cache, "train"), still_rows(arguments.data, "train")
    names = people_of(cache, rows)
    seen = {still_person(row) for row in still_rows(arguments.data, "val")}
    counts = {name: int((names == name).sum()) for name in set(names) if name.startswith("london")}
    twice = sorted(name for name, count in counts.items() if count > 1 and name not in seen)[:KEPT_OUT]
    outside = np.isin(names, [*twice, *seen])  # who is in val by another photograph is not trained on either
    picks = spread_frames(cache, np.where(outside, "", names), PER_PERSON)
    picks = picks[~outside[picks]]
    crops, people = [crops_of(cache, picks, template)], [names[picks]]
    rng = np.random.default_rng(arguments.seed)
    stills = picks[cache.clip[picks] < 0]
    for start in range(0, MOVED * len(stills), 64):
        here = np.tile(stills, MOVED)[start : start + 64]
        crops.append(pack(face_crops(*animated(cache, here, canonical, rng), template)))
        people.append(names[here])
    collections = np.array(["clips"] * int((cache.clip >= 0).sum()) + [group_of(row) for row in rows])
    from_where = dict(zip(names[picks].tolist(), collections[picks].tolist(), strict=True))
    everybody = {name: number for number, name in enumerate(from_where)}
    numbers = torch.tensor([everybody[name] for name in np.concatenate(people)])
    kept = [(str(name), crops_of(cache, np.flatnonzero(names == name), template)) for name in twice]
    stored.parent.mkdir(parents=True, exist_ok=True)
    made = (torch.cat(crops), numbers, list(from_where.values()), kept)
    torch.save(made, stored)
    return made


class Drawer:
    """Two crops each of different people: half of the people from clips, half from one collection of stills.

    numbers [n]: person of every crop; collections: of every person. Small collections are thrown together.
    """

    def __init__(self, numbers: Tensor, collections: list[str]) -> None:
        self.of = torch.split(numbers.argsort(stable=True), torch.bincount(numbers).tolist())
        groups: dict[str, list[int]] = {}
        for person, name in enumerate(collections):
            groups.setdefault(name, []).append(person)
        small = [name for name in groups if len(groups[name]) < FEW and name != "clips"]
        rest = [person for name in small for person in groups.pop(name)]
        self.clips = torch.tensor(groups.pop("clips", []), dtype=torch.long)
        self.stills = [torch.tensor(people) for people in (*groups.values(), rest) if people]
        self.weights = torch.tensor([float(len(people)) for people in self.stills])

    def __call__(self, people: int) -> tuple[Tensor, Tensor]:
        """-> numbers of two crops of each person, and the people: [2, people] and [people], or fewer if there are."""
        chosen = [self.clips]
        if self.stills:
            chosen = [self.clips, self.stills[int(torch.multinomial(self.weights, 1))]]
        share = -(-people // len(chosen))
        who = torch.cat([group[torch.randperm(len(group))[:share]] for group in chosen])[:people]
        crops = [self.of[one][torch.randint(len(self.of[one]), (2,))] for one in who.tolist()]
        return torch.stack(crops, 1), who


def contrast(first: Tensor, second: Tensor) -> Tensor:
    """Which of all others in the batch is the same person? Unit embeddings [P,D] of two crops each -> scalar, nats.

    NT-Xent (Chen et al., "SimCLR", ICML 2020, eq. 1): cross-entropy over cosines / TEMPERATURE, oneself left out.
    """
    both = torch.cat([first, second])
    cosines = both @ both.T / TEMPERATURE
    cosines.fill_diagonal_(-1e4)
    partner = torch.arange(len(both)).roll(len(first))
    return F.cross_entropy(cosines, partner)


@torch.inference_mode()
def embed(network: VerifierNetwork, crops: Tensor) -> np.ndarray:
    """uint8 crops [n,4,SIDE,SIDE] -> unit embeddings [n,D]."""
    return torch.cat([network(unpack(part)) for part in crops.split(128)]).numpy()


def error_rates(network: VerifierNetwork, arguments: argparse.Namespace, kept: list) -> dict:
    """Equal-error rates on val: frames of the clips, of different clips only, and on the two photographs kept out."""
    network.eval()
    cache, rows = FrameCache(arguments.cache, "val"), still_rows(arguments.data, "val")
    names, rng = people_of(cache, rows), np.random.default_rng(0)
    picks = spread_frames(cache, names, 40)
    embeddings = embed(network, crops_of(cache, picks, network.template))
    people = gather([
        (names[n], int(cache.clip[n]), cache.frame[n][None], e[None]) for n, e in zip(picks, embeddings, strict=True)
    ])  # fmt: skip
    clips, stills = [p for p in people if (p.clips >= 0).any()], [p for p in people if (p.clips < 0).all()]
    pairs = [Person(name, embed(network, crops), np.arange(len(crops)), np.zeros(len(crops))) for name, crops in kept]
    between = different_pairs(clips, rng)
    trials = {
        "val_clips": (clips, False, between),
        "val_clips_other_recording": (clips, True, between),
        "val_clips_against_stills": (clips, False, different_pairs([*stills, *clips], rng, 4)),
        "two_photographs": (pairs, True, different_pairs([*pairs, *stills], rng)),
    }
    rates = {}
    for trial, (chosen, across, different) in trials.items():
        same = np.concatenate([np.zeros(0), *(same_pairs(person, rng, across) for person in chosen)])
        if len(same) and len(different):
            rates[trial] = {"equal_error_rate": round(equal_error(same, different)[0], 4), "people": len(chosen)}
            rates[trial] |= {"same": len(same), "different": len(different)}
    return rates


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    seed_all(arguments.seed)
    for split in ("train", "val"):
        build_cache(arguments.data, arguments.cache, split)
    labels = Path(arguments.cache) / "labels.npz"
    if not labels.is_file():
        build_labels(arguments.data, MotionSpaceConfig().expression_size).save(labels)
    canonical = MotionLabels.load(labels).canonical
    network = VerifierNetwork()
    network.set_template(canonical)
    crops, numbers, collections, kept = training_set(arguments, canonical, network.template)
    print(f"{len(crops)} crops of {len(collections)} people, {len(kept)} people kept out", flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=arguments.lr, weight_decay=0.02)
    config = {"verifier": {"widths": list(WIDTHS), "size": network.out.out_features}}
    modules, drawer = {"verifier": network}, Drawer(numbers, collections)
    run = Run(arguments.out, vars(arguments) | config, modules, optimizer, arguments.steps, 2 * arguments.batch)
    run.resume()
    network.train().to(memory_format=torch.channels_last)
    for step in run.steps():
        for group in optimizer.param_groups:
            group["lr"] = arguments.lr * schedule(step, arguments.steps)
        picks, _ = drawer(arguments.batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            embeddings = network(augment(unpack(crops[picks.flatten()])))
        loss = contrast(*embeddings.chunk(2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        run.log(loss=loss.item())
    network.load_state_dict({key.removeprefix("verifier."): value for key, value in run.average.items()})
    rates = error_rates(network, arguments, kept)
    for trial, rate in rates.items():
        print(trial, *(f"{key} {value}" for key, value in rate.items()))
    if arguments.file:
        from scripts.export import slim, write

        tensors = {key: slim(key, value) for key, value in run.average.items()}
        write(Path(arguments.file), config | {"equal_error": rates, "steps": run.step}, tensors)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--out", default="runs/verifier", help="run folder; an existing run there is continued")
    parser.add_argument("--file", help="safetensors file to write, float16, error rates inside")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=64, help="people per step, two crops each")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
