"""Train the prior of the check of portraits: a flow over motion codes, a Gaussian over HAL codes, and their limits; and
the probe that notices covered mouths and eyes.

    python -m scripts.train_motion_prior --features-dir runs/features --cache runs/cache --model lite \
        --out checkpoints/motion_prior.safetensors

The flow learns the codes of real clips (labels, as scripts.extract_features wrote them). What is usual, and the limits,
come from pictures as a user would give them: found, cropped and encoded by the shipped networks. Limits are set on
`val`: one in a hundred real pictures gets a word, none of them a refusal. Prints how many odd pictures are caught.

The probe is taught masks, hands, microphones and patches over the mouth, and dark glasses over the eyes; what is drawn
beside the face, and frames of clips, teach what is no cover. Printed: how many covers of these kinds are noticed on
`val`, and of kinds that were never shown. All covers are drawn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker.config import InputError
from anitalker.faces.crop import crop_face
from anitalker.faces.detection import FaceFinder
from anitalker.models import loading
from anitalker.motion.occlusion import PARTS, OcclusionProbe
from anitalker.motion.prior import SCORES, MotionPrior, landmark_residual, space_hash
from anitalker.network_config import MotionPriorConfig, to_dict
from anitalker.runtime.transfer import to_tensor
from scripts.export import write
from scripts.training.data import FrameCache
from scripts.training.motion_data import MotionClip, load_motion
from scripts.training.occluders import EYES_TAUGHT, EYES_UNSEEN, HARMLESS, MOUTH_TAUGHT, MOUTH_UNSEEN, ODD
from scripts.training.recipe import add_features_dir, command

FALSE_ALARMS = 0.01  # of the prior, and of each part that the probe knows
JITTER = 0.2  # of the spread of the codes, added in training
REFUSAL = 1.25  # times the highest anomaly score of a real picture of val
HIDES = {kind: n for n, kinds in enumerate((MOUTH_TAUGHT | MOUTH_UNSEEN, EYES_TAUGHT | EYES_UNSEEN)) for kind in kinds}
KINDS = MOUTH_TAUGHT | MOUTH_UNSEEN | EYES_TAUGHT | EYES_UNSEEN | HARMLESS

Example = tuple[np.ndarray, str]  # picture uint8 [256,256,3] and its kind: `real` for a still, `clip`, or what is drawn
Codes = tuple[Tensor, np.ndarray]  # codes [N,D] and kinds [N]


def train_flow(prior: MotionPrior, clips: list[MotionClip], val: list[MotionClip], steps: int, batch: int) -> dict:
    """Maximum likelihood with AdamW and a cosine; codes jittered so that repeated frames are no spikes -> scores."""
    codes = torch.from_numpy(np.concatenate([clip.codes[clip.good] for clip in clips]))
    weight = torch.from_numpy(np.concatenate([np.full(clip.good.sum(), clip.weight) for clip in clips]))
    held_out = torch.from_numpy(np.concatenate([clip.codes[clip.good] for clip in val])[::3])
    prior.motion_mean.copy_(codes.mean(0))
    prior.motion_std.copy_(codes.std(0))
    optimizer = torch.optim.AdamW(prior.flow.parameters(), 2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_state = -math.inf, None
    for step in range(1, steps + 1):
        chosen = codes[torch.multinomial(weight, batch, replacement=True)]
        loss = -prior.log_prob(chosen + JITTER * prior.motion_std * torch.randn_like(chosen)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.flow.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(steps // 16, 1) == 0:
            with torch.no_grad():
                score = float(prior.log_prob(held_out).mean())
            print(f"step {step}: train {-loss.item():.2f} nats, val {score:.2f}", flush=True)
            if score > best:
                best, best_state = score, {key: tensor.clone() for key, tensor in prior.flow.state_dict().items()}
    prior.flow.load_state_dict(best_state)
    return {"val": best, "frames": len(codes)}


def fit_appearance(prior: MotionPrior, codes: Tensor) -> None:
    """Principal directions of appearance codes [N,D], their variances, and the mean variance of the rest."""
    count, mean = prior.config.directions, codes.mean(0)
    _, size, rows = torch.linalg.svd(codes - mean, full_matrices=False)
    if len(rows) < count:
        raise InputError(f"{len(codes)} pictures cannot give {count} directions; raise --pictures")
    variance = size.square() / (len(codes) - 1)
    prior.appearance_mean.copy_(mean)
    prior.directions.copy_(rows[:count])
    prior.variances.copy_(variance[:count])
    prior.noise.copy_((variance[count:].sum() / max(codes.shape[1] - count, 1)).clamp(min=1e-8))


class PictureReader:
    """The shipped networks as a user's picture meets them."""

    def __init__(self, model: str) -> None:
        self.finder, self.space = FaceFinder(loading.load_face()), loading.load_model(model).motion_space.eval()

    @torch.inference_mode()
    def read(self, picture: np.ndarray) -> dict | None:
        """Codes, score and residual of the largest face of a picture uint8 [H,W,3]; None if there is none."""
        faces = self.finder.find(np.ascontiguousarray(picture))
        if not faces:
            return None
        crop = crop_face(picture, faces[0])
        codes = self.space(to_tensor(crop.image))
        residual = landmark_residual(self.finder, crop)
        return {"motion": codes.motion, "appearance": codes.appearance, "score": faces[0].score, "residual": residual}

    def read_frames(self, cache: FrameCache, numbers: np.ndarray) -> list[dict]:
        """What is read from frames that have a face."""
        readings = [self.read(np.array(cache.frames[n])) for n in numbers]
        print(f"{sum(reading is None for reading in readings)} of {len(numbers)} pictures have no face", flush=True)
        return [reading for reading in readings if reading is not None]


def choose_frames(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of stills, and of clip frames spread over the people."""
    moving = np.flatnonzero((cache.clip >= 0) & cache.good)
    people = np.unique(cache.identity[moving])
    of_each = [rng.choice(moving[cache.identity[moving] == n], -(-frames // len(people))) for n in people]
    spread = rng.permutation(np.concatenate(of_each))[:frames]
    return np.concatenate([rng.permutation(np.flatnonzero(cache.clip < 0))[:stills], spread])


def signs_of(prior: MotionPrior, readings: list[dict]) -> Tensor:
    """Plausibility scores [N,4] of what was read."""
    return torch.stack(
        [prior.plausibility_scores(r["motion"], r["appearance"], r["score"], r["residual"]) for r in readings]
    )


def set_limits(prior: MotionPrior, train: Tensor, val: Tensor) -> dict:
    """What is usual from train, limits from val: FALSE_ALARMS of its pictures are doubted -> facts."""
    prior.middle.copy_(train.median(0).values)
    prior.spread.copy_((prior.middle - train.quantile(0.16, 0)).clamp(min=1e-4))
    scores, _ = prior.anomaly_score(val)
    prior.limits.copy_(torch.stack([scores.quantile(1 - FALSE_ALARMS), REFUSAL * scores.max()]))
    usual = dict(zip(SCORES, prior.middle.tolist(), strict=True))
    return {"usual": usual, **dict(zip(("doubt", "refuse"), prior.limits.tolist(), strict=True))}


def detection(
    prior: MotionPrior, reader: PictureReader, cache: FrameCache, numbers: np.ndarray, rng: np.random.Generator
) -> dict:
    """For each kind of odd picture: share without a face, doubted, refused; each out of all."""
    rates = {}
    for kind, make in ODD.items():
        readings = [reader.read(make(np.array(cache.frames[n]), cache.landmarks[n], rng)) for n in numbers]
        faces = [reading for reading in readings if reading is not None]
        doubts = [prior.rejection(signs) for signs in signs_of(prior, faces)] if faces else []
        doubts = [doubt for doubt in doubts if doubt]
        counts = len(readings) - len(faces), len(doubts), sum(refused for refused, _ in doubts)
        rates[kind] = {
            name: n / len(readings) for name, n in zip(("no face", "doubted", "refused"), counts, strict=True)
        }
        print(f"{kind}: " + ", ".join(f"{key} {value:.0%}" for key, value in rates[kind].items()), flush=True)
    return rates


def cover_examples(
    cache: FrameCache, stills: int, frames: int, rng: np.random.Generator, every: bool = False
) -> Iterator[Example]:
    """Stills as they are and with things drawn onto them, frames of clips as they are.

    Drawn is every kind; or what is taught: a cover of the mouth, then one of the eyes or something beside the face.
    """
    for n in choose_frames(cache, stills, frames, rng):
        picture, points, still = np.array(cache.frames[n]), cache.landmarks[n], cache.clip[n] < 0
        yield picture, "real" if still else "clip"
        groups = (MOUTH_TAUGHT, EYES_TAUGHT if rng.random() < 0.5 else HARMLESS)
        kinds = KINDS if every else [str(rng.choice(list(group))) for group in groups]
        yield from ((KINDS[kind](picture, points, rng), kind) for kind in kinds if still)


@torch.no_grad()
def read_codes(reader: PictureReader, examples: Iterable[Example], batch: int = 16) -> Codes:
    """Appearance codes of examples, taken as crops."""
    codes, kinds, examples = [], [], iter(examples)
    while chunk := list(itertools.islice(examples, batch)):
        codes.append(reader.space(torch.cat([to_tensor(picture) for picture, _ in chunk])).appearance)
        kinds += [kind for _, kind in chunk]
    return torch.cat(codes).float(), np.array(kinds)


def fit_probe(covers: OcclusionProbe, codes: Tensor, kinds: np.ndarray) -> dict:
    """Fit to codes [N,D] of pictures of these kinds -> facts."""
    covered = torch.tensor([[float(HIDES.get(kind) == n) for n in range(len(PARTS))] for kind in kinds.tolist()])
    return {"covered": covered.sum(0).int().tolist(), "loss": covers.fit(codes, covered)}


def set_probe_limits(covers: OcclusionProbe, codes: Tensor) -> dict:
    """FALSE_ALARMS of real pictures, with codes [N,D], get a word about each part, fewer where the limit would
    lie below even odds (the pictures are few) -> facts."""
    covers.limits.copy_(covers(codes).quantile(1 - FALSE_ALARMS, 0).clamp(min=0))
    return {"real": len(codes), "limits": covers.limits.tolist()}


def occlusion_rates(covers: OcclusionProbe, codes: Tensor, kinds: np.ndarray) -> dict:
    """For each kind: how many pictures, and shares with a word about mouth or eyes."""
    rates, above = {}, (covers(codes) > covers.limits).float()
    for kind in dict.fromkeys(kinds.tolist()):
        chosen = above[torch.from_numpy(kinds == kind)]
        rates[kind] = {"pictures": len(chosen), **dict(zip(PARTS, chosen.mean(0).tolist(), strict=True))}
    return rates


def train_probe(
    covers: OcclusionProbe, reader: PictureReader, train: FrameCache, val: FrameCache, stills: int, real: list[dict]
) -> dict:
    """Fit the probe to drawn covers on stills of train, set its limits by readings of real pictures -> facts."""
    rng = np.random.default_rng(0)
    facts = {"taught": fit_probe(covers, *read_codes(reader, cover_examples(train, stills, stills // 2, rng)))}
    facts |= set_probe_limits(covers, torch.cat([reading["appearance"] for reading in real]))
    examples = cover_examples(val, stills, stills // 4, rng, every=True)
    return facts | {"detected": occlusion_rates(covers, *read_codes(reader, examples))}


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the prior that tells faces from what only looks like one.")
    add_features_dir(parser)
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    parser.add_argument("--model", default="lite", help="whose motion space it is for")
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=240, help="of train, and as many of val")
    parser.add_argument("--odd", type=int, default=20, help="pictures of each odd kind")
    parser.add_argument("--stills", type=int, default=1100, help="of train that are covered, two pictures each")
    parser.add_argument("--out", default="checkpoints/motion_prior.safetensors")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    rng, reader, out = np.random.default_rng(0), PictureReader(options.model), Path(options.out)
    size, known = reader.space.config.encoder.code_size, space_hash(reader.space.state_dict())
    config = MotionPriorConfig(code_size=size, directions=min(48, size // 2), space=known)
    prior = MotionPrior(config)
    clips, val_clips = (load_motion(options.features_dir, split) for split in ("train", "val"))
    facts = {"motion": train_flow(prior, clips, val_clips, options.steps, options.batch)}
    train_cache, val_cache = (FrameCache(options.cache, split) for split in ("train", "val"))
    stills, frames = options.pictures * 5 // 8, options.pictures * 3 // 8
    train = reader.read_frames(train_cache, choose_frames(train_cache, stills, frames, rng))
    val = reader.read_frames(val_cache, choose_frames(val_cache, stills, frames, rng))
    # One half teaches the Gaussian, the other says what is usual: a Gaussian flatters what it was fitted to.
    mixed = [train[n] for n in rng.permutation(len(train))]
    fitted, judged = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    fit_appearance(prior, torch.cat([reading["appearance"] for reading in fitted]))
    facts |= set_limits(prior, signs_of(prior, judged), signs_of(prior, val))
    facts["covers"] = train_probe(prior.covers, reader, train_cache, val_cache, options.stills, val)
    facts["odd"] = detection(prior, reader, val_cache, np.flatnonzero(val_cache.clip < 0)[: options.odd], rng)
    write(out, {"prior": to_dict(config)}, {key: tensor.contiguous() for key, tensor in prior.state_dict().items()})
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    sys.exit(main())
