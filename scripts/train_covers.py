"""Train the probe that notices covered mouths and eyes, on stills with drawn covers; it goes into the prior's file.

    python -m scripts.train_covers --cache runs/cache --prior checkpoints/motion_prior.safetensors [--model lite]

Taught are masks, hands, microphones and patches over the mouth, and dark glasses over the eyes; what is drawn beside
the face, and frames of clips, teach what is no cover. Limits: one in a hundred real pictures of `val` (stills, and clip
frames of all people), found and cropped as a user's would be, gets a word about a part. Printed: how many covers of the
taught kinds are noticed on `val`, and of kinds that were never shown; `as_found` of few, `detected` of all stills as
they are. All covers are drawn; real ones were not to be had. Codes that were read once are kept in --codes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from anitalker.config import InputError
from anitalker.models import loading
from anitalker.motion.occlusion import PARTS, OcclusionProbe
from anitalker.motion.prior import MotionPrior, space_hash
from anitalker.runtime.transfer import to_tensor
from scripts.export import write
from scripts.train_motion_prior import PictureReader, choose_frames
from scripts.training.data import FrameCache
from scripts.training.occluders import EYES_TAUGHT, EYES_UNSEEN, HARMLESS, MOUTH_TAUGHT, MOUTH_UNSEEN
from scripts.training.recipe import command

FALSE_ALARMS = 0.01  # of each part
HIDES = {kind: n for n, kinds in enumerate((MOUTH_TAUGHT | MOUTH_UNSEEN, EYES_TAUGHT | EYES_UNSEEN)) for kind in kinds}
KINDS = MOUTH_TAUGHT | MOUTH_UNSEEN | EYES_TAUGHT | EYES_UNSEEN | HARMLESS

Example = tuple[np.ndarray, str]  # picture uint8 [256,256,3] and its kind: `real` for a still, `clip`, or what is drawn
Codes = dict[str, np.ndarray]  # codes [N,D] and kinds [N]


def training_examples(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator) -> Iterator[Example]:
    """Each still as it is, with its mouth covered, and with its eyes covered or something beside the face; frames of
    clips as they are.
    """
    for picture, points, kind in _real(cache, stills, frames, rng):
        yield picture, kind
        if kind == "real":
            for makers in (MOUTH_TAUGHT, EYES_TAUGHT if rng.random() < 0.5 else HARMLESS):
                drawn = str(rng.choice(list(makers)))
                yield makers[drawn](picture, points, rng), drawn


def test_examples(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator) -> Iterator[Example]:
    """Each still as it is and in every kind, frames of clips as they are."""
    for picture, points, kind in _real(cache, stills, frames, rng):
        yield picture, kind
        if kind == "real":
            yield from ((make(picture, points, rng), drawn) for drawn, make in KINDS.items())


def _real(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator):
    for n in choose_frames(cache, stills, frames, rng):
        yield np.array(cache.frames[n]), cache.landmarks[n], "real" if cache.clip[n] < 0 else "clip"


@torch.no_grad()
def read_codes(reader: PictureReader, examples: Iterable[Example], batch: int = 16) -> Codes:
    """Appearance codes of examples, taken as crops."""
    codes, kinds, examples = [], [], iter(examples)
    while chunk := list(itertools.islice(examples, batch)):
        pictures = torch.cat([to_tensor(picture) for picture, _ in chunk])
        codes.append(reader.space(pictures).appearance.numpy())
        kinds += [kind for _, kind in chunk]
    return {"codes": np.concatenate(codes), "kinds": np.array(kinds)}


def read_found(reader: PictureReader, examples: Iterable[Example]) -> tuple[Codes, dict[str, int]]:
    """Codes of faces that the finder found and cropped; how many of each kind it did not find."""
    readings = [(reader.read(picture), kind) for picture, kind in examples]
    codes = [reading["appearance"].numpy() for reading, _ in readings if reading is not None]
    kinds = [kind for reading, kind in readings if reading is not None]
    lost = Counter(kind for reading, kind in readings if reading is None)
    return {"codes": np.concatenate(codes), "kinds": np.array(kinds)}, dict(lost)


def fit_probe(covers: OcclusionProbe, examples: Codes) -> dict:
    """Fit to codes -> facts."""
    covered = np.array([[HIDES.get(kind) == n for n in range(len(PARTS))] for kind in examples["kinds"].tolist()])
    loss = covers.fit(torch.tensor(examples["codes"]).float(), torch.tensor(covered).float())
    return {"pictures": len(covered), "covered": covered.sum(0).tolist(), "loss": loss}


def set_limits(covers: OcclusionProbe, examples: Codes) -> dict:
    """FALSE_ALARMS of the real pictures among these get a word about each part, fewer where the limit would lie below
    even odds (the pictures are few) -> facts."""
    real = np.isin(examples["kinds"], ("real", "clip"))
    logits = covers(torch.tensor(examples["codes"][real]).float())
    covers.limits.copy_(logits.quantile(1 - FALSE_ALARMS, 0).clamp(min=0))
    return {"real": int(real.sum()), "limits": covers.limits.tolist()}


def detection(covers: OcclusionProbe, examples: Codes) -> dict:
    """For each kind: how many pictures, and shares with a word about mouth or eyes."""
    rates = {}
    for kind in dict.fromkeys(examples["kinds"].tolist()):
        above = covers(torch.tensor(examples["codes"][examples["kinds"] == kind]).float()) > covers.limits
        rates[kind] = {"pictures": len(above), **dict(zip(PARTS, above.float().mean(0).tolist(), strict=True))}
    return rates


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    prior_file = "checkpoints/motion_prior.safetensors"
    parser.add_argument("--prior", default=prior_file, help="read, and written with the probe")
    parser.add_argument("--model", default="lite", help="whose motion space it is for")
    parser.add_argument("--stills", type=int, default=1100, help="of train, three pictures each")
    parser.add_argument("--frames", type=int, default=500, help="of the clips of train; half as many of val")
    few = "val stills of each kind that are also found and cropped, and 20 times as many real pictures"
    parser.add_argument("--found", type=int, default=6, help=few)
    parser.add_argument("--codes", default="runs/covers.npz", help="what was read is kept here")
    options = parser.parse_args(arguments)
    rng, reader = np.random.default_rng(0), PictureReader(options.model)
    config, tensors = loading.read(options.prior)
    known = space_hash(reader.space.state_dict())
    if config["prior"]["space"] != known:
        raise InputError(f"{options.prior} is for another motion space; run scripts.train_motion_prior first")
    train, val = (FrameCache(options.cache, split) for split in ("train", "val"))
    if not Path(options.codes).is_file() or str(np.load(options.codes)["space"]) != known:
        train_codes = read_codes(reader, training_examples(train, options.stills, options.frames, rng))
        val_codes = read_codes(reader, test_examples(val, options.stills, options.frames // 2, rng))
        both = {"train": train_codes, "val": val_codes}
        arrays = {f"{split}_{key}": array for split, codes in both.items() for key, array in codes.items()}
        np.savez(options.codes, space=known, **arrays)
    stored = np.load(options.codes)
    train_codes, val_codes = (
        {key: stored[f"{split}_{key}"] for key in ("codes", "kinds")} for split in ("train", "val")
    )
    covers = OcclusionProbe(reader.space.config.encoder.code_size)
    facts = {"taught": fit_probe(covers, train_codes)}
    real = ((picture, "real") for picture, *_ in _real(val, 10 * options.found, 10 * options.found, rng))
    found_codes, lost = read_found(reader, itertools.chain(real, test_examples(val, options.found, 0, rng)))
    facts |= set_limits(covers, found_codes) | {"as_found": detection(covers, found_codes), "no_face": lost}
    facts |= {"detected": detection(covers, val_codes)}
    prior = MotionPrior.from_config(config)
    prior.covers = covers
    prior.load_state_dict(prior.state_dict() | {key: t for key, t in tensors.items() if not key.startswith("covers.")})
    write(Path(options.prior), config, {key: tensor.contiguous() for key, tensor in prior.state_dict().items()})
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    sys.exit(main())
