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
from pathlib import Path

import numpy as np
import torch

from anitalker.models import loading
from anitalker.motion.occlusion import PARTS, OcclusionProbe
from anitalker.motion.prior import MotionPrior, space_hash
from anitalker.runtime.transfer import to_tensor
from scripts.export import write
from scripts.train_motion_prior import Eye, choose_frames
from scripts.training.covers import EYES_TAUGHT, EYES_UNSEEN, HARMLESS, MOUTH_TAUGHT, MOUTH_UNSEEN
from scripts.training.data import FrameCache

FALSE_ALARMS = 0.01  # of each part
HIDES = {kind: n for n, kinds in enumerate((MOUTH_TAUGHT | MOUTH_UNSEEN, EYES_TAUGHT | EYES_UNSEEN)) for kind in kinds}
KINDS = MOUTH_TAUGHT | MOUTH_UNSEEN | EYES_TAUGHT | EYES_UNSEEN | HARMLESS


def lessons(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator):
    """(picture, kind) to learn from: each still as it is (`real`), with its mouth covered, and with its eyes covered or
    something beside the face; frames of clips as they are (`clip`)."""
    for n in choose_frames(cache, stills, frames, rng):
        picture, points = np.array(cache.frames[n]), cache.landmarks[n]
        yield picture, "real" if cache.clip[n] < 0 else "clip"
        if cache.clip[n] < 0:
            other = EYES_TAUGHT if rng.random() < 0.5 else HARMLESS
            for kinds in (MOUTH_TAUGHT, other):
                kind = str(rng.choice(list(kinds)))
                yield kinds[kind](picture, points, rng), kind


def examples(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator):
    """(picture, kind) to judge by: each still as it is and in every kind, frames of clips as they are."""
    for n in choose_frames(cache, stills, frames, rng):
        picture, points = np.array(cache.frames[n]), cache.landmarks[n]
        yield picture, "real" if cache.clip[n] < 0 else "clip"
        if cache.clip[n] < 0:
            yield from ((make(picture, points, rng), kind) for kind, make in KINDS.items())


def read(eye: Eye, pictures, at_once: int = 16) -> dict[str, np.ndarray]:
    """(picture, kind) -> appearance codes [N,D] and kinds [N]."""
    codes, kinds, waiting = [], [], []

    def look() -> None:
        with torch.no_grad():
            codes.append(eye.space(torch.cat(waiting)).appearance.numpy())
        waiting.clear()

    for picture, kind in pictures:
        waiting.append(to_tensor(picture))
        kinds.append(kind)
        if len(waiting) == at_once:
            look()
    if waiting:
        look()
    return {"codes": np.concatenate(codes), "kinds": np.array(kinds)}


def teach(covers: OcclusionProbe, seen: dict[str, np.ndarray]) -> dict:
    """Fit to what was read -> facts."""
    parts = np.array([[HIDES.get(kind) == n for n in range(len(PARTS))] for kind in seen["kinds"].tolist()])
    loss = covers.learn(torch.tensor(seen["codes"]).float(), torch.tensor(parts).float())
    return {"pictures": len(parts), "covered": parts.sum(0).tolist(), "loss": loss}


def set_limits(covers: OcclusionProbe, seen: dict[str, np.ndarray]) -> dict:
    """FALSE_ALARMS of the real pictures among these get a word about each part, fewer where the limit would lie below
    even odds (the pictures are few) -> facts."""
    real = np.isin(seen["kinds"], ("real", "clip"))
    covers.limits.copy_(covers(torch.tensor(seen["codes"][real]).float()).quantile(1 - FALSE_ALARMS, 0).clamp(min=0))
    return {"real": int(real.sum()), "limits": covers.limits.tolist()}


def detection(covers: OcclusionProbe, seen: dict[str, np.ndarray]) -> dict:
    """For each kind: how many pictures, and shares with a word about mouth or eyes."""
    rates = {}
    for kind in dict.fromkeys(seen["kinds"].tolist()):
        above = covers(torch.tensor(seen["codes"][seen["kinds"] == kind]).float()) > covers.limits
        rates[kind] = {"pictures": len(above), **dict(zip(PARTS, above.float().mean(0).tolist(), strict=True))}
    return rates


def as_found(eye: Eye, pictures) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """The same of faces that the finder found and cropped; how many of each kind it did not find."""
    codes, kinds, lost = [], [], {}
    for picture, kind in pictures:
        if (one := eye.look(picture)) is None:
            lost[kind] = lost.get(kind, 0) + 1
        else:
            codes.append(one["appearance"].numpy())
            kinds.append(kind)
    return {"codes": np.concatenate(codes), "kinds": np.array(kinds)}, lost


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    parser.add_argument(
        "--prior", default="checkpoints/motion_prior.safetensors", help="read, and written with the probe"
    )
    parser.add_argument("--model", default="lite", help="whose motion space it is for")
    parser.add_argument("--stills", type=int, default=1100, help="of train, three pictures each")
    parser.add_argument("--frames", type=int, default=500, help="of the clips of train; half as many of val")
    parser.add_argument(
        "--found",
        type=int,
        default=6,
        help="val stills of each kind that are also found and cropped, and 20 times as many real pictures",
    )
    parser.add_argument("--codes", default="runs/covers.npz", help="what was read is kept here")
    options = parser.parse_args(arguments)
    rng, eye = np.random.default_rng(0), Eye(options.model)
    config, tensors = loading.read(options.prior)
    known = space_hash(eye.space.state_dict())
    if config["prior"]["space"] != known:
        raise SystemExit(f"error: {options.prior} is for another motion space; run scripts.train_motion_prior first")
    train, val = (FrameCache(options.cache, split) for split in ("train", "val"))
    if not Path(options.codes).is_file() or str(np.load(options.codes)["space"]) != known:
        taught = read(eye, lessons(train, options.stills, options.frames, rng))
        judged = read(eye, examples(val, options.stills, options.frames // 2, rng))
        kept = {f"{name}_{key}": v for name, seen in (("train", taught), ("val", judged)) for key, v in seen.items()}
        np.savez(options.codes, space=known, **kept)
    stored = np.load(options.codes)
    taught, judged = ({key: stored[f"{name}_{key}"] for key in ("codes", "kinds")} for name in ("train", "val"))
    covers = OcclusionProbe(eye.space.config.encoder.code_size)
    facts = {"taught": teach(covers, taught)}
    real = ((np.array(val.frames[n]), "real") for n in choose_frames(val, 10 * options.found, 10 * options.found, rng))
    found, lost = as_found(eye, itertools.chain(real, examples(val, options.found, 0, rng)))
    facts |= set_limits(covers, found) | {"as_found": detection(covers, found), "no_face": lost}
    facts |= {"detected": detection(covers, judged)}
    prior = MotionPrior.from_config(config)
    prior.covers = covers
    prior.load_state_dict(prior.state_dict() | {key: t for key, t in tensors.items() if not key.startswith("covers.")})
    write(Path(options.prior), config, {key: tensor.contiguous() for key, tensor in prior.state_dict().items()})
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
