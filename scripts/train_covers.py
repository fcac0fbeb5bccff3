"""Train the probe that notices covered mouths and eyes, on stills with drawn covers; it goes into the prior's file.

    python -m scripts.train_covers --cache runs/cache --prior checkpoints/motion_prior.safetensors [--model lite]

Taught are masks, hands, microphones and patches over the mouth, and dark glasses over the eyes; what is drawn beside
the face, and frames of clips, teach what is no cover. Limits: one in a hundred real pictures of `val` (stills, and clip
frames of all people) gets a word about a part, found and cropped as a user's would be. Printed: how many covers of the
taught kinds are noticed on `val`, and of kinds that were never shown. All covers are drawn; real ones were not to be
had.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker import weights
from anitalker.covers import PARTS, Covers
from anitalker.motion_prior import MotionPrior, space_hash
from anitalker.rendering import to_tensor
from scripts.export import write
from scripts.train_motion_prior import Eye, choose_frames
from scripts.training.covers import EYES_TAUGHT, EYES_UNSEEN, HARMLESS, MOUTH_TAUGHT, MOUTH_UNSEEN
from scripts.training.data import FrameCache

FALSE_ALARMS = 0.01  # of each part
HIDES = {kind: n for n, kinds in enumerate((MOUTH_TAUGHT | MOUTH_UNSEEN, EYES_TAUGHT | EYES_UNSEEN)) for kind in kinds}
KINDS = MOUTH_TAUGHT | MOUTH_UNSEEN | EYES_TAUGHT | EYES_UNSEEN | HARMLESS


def lessons(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator):
    """(picture, part that is covered or None): each still as it is, with its mouth covered, and with its eyes covered
    or something beside the face; frames of clips as they are."""
    for n in choose_frames(cache, stills, frames, rng):
        picture, points = np.array(cache.frames[n]), cache.landmarks[n]
        yield picture, None
        if cache.clip[n] < 0:
            other = EYES_TAUGHT if rng.random() < 0.5 else HARMLESS
            for kinds in (MOUTH_TAUGHT, other):
                kind = str(rng.choice(list(kinds)))
                yield kinds[kind](picture, points, rng), HIDES.get(kind)


@torch.inference_mode()
def read(eye: Eye, taught, at_once: int = 16) -> tuple[Tensor, Tensor]:
    """Pictures and covered parts -> appearance codes [N,D] and covered [N,2]."""
    codes, parts, waiting = [], [], []
    for picture, part in taught:
        waiting.append(to_tensor(picture))
        parts.append([float(part == n) for n in range(len(PARTS))])
        if len(waiting) == at_once:
            codes.append(eye.space(torch.cat(waiting)).appearance)
            waiting = []
    if waiting:
        codes.append(eye.space(torch.cat(waiting)).appearance)
    return torch.cat(codes).clone(), torch.tensor(parts)


def set_limits(covers: Covers, eye: Eye, pictures: list[np.ndarray]) -> dict:
    """FALSE_ALARMS of these real pictures get a word about each part -> facts."""
    seen = [one for one in map(eye.look, pictures) if one is not None]
    logits = covers(torch.cat([one["appearance"] for one in seen]))
    covers.limits.copy_(logits.quantile(1 - FALSE_ALARMS, 0))
    return {"real": len(seen), "limits": covers.limits.tolist()}


def detection(covers: Covers, eye: Eye, cache: FrameCache, numbers: np.ndarray, rng: np.random.Generator) -> dict:
    """For each kind of cover: shares of pictures with no face found, and with a word about mouth or eyes."""
    rates = {}
    for kind, make in KINDS.items():
        seen = [eye.look(make(np.array(cache.frames[n]), cache.landmarks[n], rng)) for n in numbers]
        told = [covers.found(one["appearance"]) for one in seen if one is not None]
        rates[kind] = {"no face": 1 - len(told) / len(seen)}
        rates[kind] |= {part: sum(part in one for one in told) / len(seen) for part in PARTS}
        print(f"{kind}: " + ", ".join(f"{key} {value:.0%}" for key, value in rates[kind].items()), flush=True)
    return rates


def train(eye: Eye, cache_dir: str, counts: tuple[int, int, int], rng: np.random.Generator) -> tuple[Covers, dict]:
    """The probe and facts; counts: stills and clip frames of train, val pictures of each kind."""
    covers = Covers(eye.space.config.encoder.code_size)
    codes, parts = read(eye, lessons(FrameCache(cache_dir, "train"), *counts[:2], rng))
    facts = {"taught": len(codes), "covered": parts.sum(0).tolist(), "loss": covers.learn(codes, parts)}
    val = FrameCache(cache_dir, "val")
    numbers = choose_frames(val, 3 * counts[2], 2 * counts[2], rng)
    facts |= set_limits(covers, eye, [np.array(val.frames[n]) for n in numbers])
    return covers, facts | {"detected": detection(covers, eye, val, np.flatnonzero(val.clip < 0)[: counts[2]], rng)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    parser.add_argument(
        "--prior", default="checkpoints/motion_prior.safetensors", help="read, and written with the probe"
    )
    parser.add_argument("--model", default="lite", help="whose motion space it is for")
    parser.add_argument("--stills", type=int, default=800, help="of train, three pictures each")
    parser.add_argument("--frames", type=int, default=800, help="of the clips of train")
    parser.add_argument("--pictures", type=int, default=40, help="of val, of each kind")
    options = parser.parse_args(arguments)
    rng, eye = np.random.default_rng(0), Eye(options.model)
    config, tensors = weights.read(options.prior)
    if config["prior"]["space"] != space_hash(eye.space.state_dict()):
        raise SystemExit(f"error: {options.prior} is for another motion space; run scripts.train_motion_prior first")
    covers, facts = train(eye, options.cache, (options.stills, options.frames, options.pictures), rng)
    prior = MotionPrior.from_config(config)
    prior.covers = covers
    prior.load_state_dict(prior.state_dict() | {key: t for key, t in tensors.items() if not key.startswith("covers.")})
    write(Path(options.prior), config, {key: tensor.contiguous() for key, tensor in prior.state_dict().items()})
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
