"""Train the prior of the check of portraits: a flow over motion codes, a Gaussian over HAL codes, and their limits.

    python -m scripts.train_motion_prior --features runs/features --cache runs/cache --model lite \
        --out checkpoints/motion_prior.safetensors

The flow learns the codes of real clips (labels, as scripts.extract_features wrote them). What is usual, and the limits,
come from pictures as a user would give them: found, cropped and encoded by the shipped networks. Limits are set on
`val`: one in a hundred real pictures gets a word, none of them a refusal. Prints how many odd pictures are caught.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker.config import MotionPriorConfig, to_dict
from anitalker.faces.crop import crop_face
from anitalker.faces.detection import FaceFinder
from anitalker.models import loading
from anitalker.motion.prior import SCORES, MotionPrior, landmark_residual, space_hash
from anitalker.runtime.transfer import to_tensor
from scripts.export import write
from scripts.training.data import FrameCache
from scripts.training.motion_data import MotionClip, load_motion
from scripts.training.odd_pictures import KINDS

FALSE_ALARMS = 0.01
JITTER = 0.2  # of the spread of the codes, added in training
REFUSAL = 1.25  # times the strangest real picture of val


def train_flow(prior: MotionPrior, clips: list[MotionClip], val: list[MotionClip], steps: int, batch: int) -> dict:
    """Maximum likelihood with AdamW and a cosine; codes jittered so that repeated frames are no spikes -> scores."""
    codes = torch.from_numpy(np.concatenate([clip.codes[clip.good] for clip in clips]))
    chance = torch.from_numpy(np.concatenate([np.full(clip.good.sum(), clip.weight) for clip in clips]))
    held = torch.from_numpy(np.concatenate([clip.codes[clip.good] for clip in val])[::3])
    prior.motion_mean.copy_(codes.mean(0))
    prior.motion_std.copy_(codes.std(0))
    optimizer = torch.optim.AdamW(prior.flow.parameters(), 2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, kept = -math.inf, None
    for step in range(1, steps + 1):
        chosen = codes[torch.multinomial(chance, batch, replacement=True)]
        chosen = chosen + JITTER * prior.motion_std * torch.randn_like(chosen)
        loss = -prior.log_prob(chosen).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.flow.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(steps // 16, 1) == 0:
            with torch.no_grad():
                score = float(prior.log_prob(held).mean())
            print(f"step {step}: train {-loss.item():.2f} nats, val {score:.2f}", flush=True)
            if score > best:
                best, kept = score, {key: tensor.clone() for key, tensor in prior.flow.state_dict().items()}
    prior.flow.load_state_dict(kept)
    plain = torch.distributions.MultivariateNormal(codes.mean(0), torch.cov(codes.T) + 1e-6 * torch.eye(codes.shape[1]))
    return {"val": best, "gaussian": float(plain.log_prob(held).mean()), "frames": len(codes)}


def fit_appearance(prior: MotionPrior, codes: Tensor) -> None:
    """Principal directions of appearance codes [N,D], their variances, and the mean variance of the rest."""
    count = prior.config.directions
    mean = codes.mean(0)
    _, size, rows = torch.linalg.svd(codes - mean, full_matrices=False)
    variance = size.square() / (len(codes) - 1)
    prior.appearance_mean.copy_(mean)
    if len(rows) < count:
        raise SystemExit(f"error: {len(codes)} pictures cannot give {count} directions; raise --pictures")
    prior.directions.copy_(rows[:count])
    prior.variances.copy_(variance[:count])
    rest = variance[count:].sum() / max(codes.shape[1] - count, 1)
    prior.noise.copy_(rest.clamp(min=1e-8))


class Eye:
    """The shipped networks as a user's picture meets them."""

    def __init__(self, model: str) -> None:
        self.finder, self.space = FaceFinder(loading.load_face()), loading.load_model(model).motion_space.eval()

    @torch.inference_mode()
    def look(self, picture: np.ndarray) -> dict | None:
        """What is seen of the largest face of a picture; None if there is none."""
        found = self.finder.find(np.ascontiguousarray(picture))
        if not found:
            return None
        crop = crop_face(picture, found[0])
        codes = self.space(to_tensor(crop.image))
        residual = landmark_residual(self.finder, crop)
        return {"motion": codes.motion, "appearance": codes.appearance, "score": found[0].score, "residual": residual}


def choose_frames(cache: FrameCache, stills: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of stills, and of clip frames spread over the people."""
    single, moving = np.flatnonzero(cache.clip < 0), np.flatnonzero((cache.clip >= 0) & cache.good)
    people = np.unique(cache.identity[moving])
    each = [rng.choice(moving[cache.identity[moving] == one], -(-frames // len(people))) for one in people]
    spread = rng.permutation(np.concatenate(each))[:frames]
    return np.concatenate([rng.permutation(single)[:stills], spread])


def signs_of(prior: MotionPrior, seen: list[dict]) -> Tensor:
    """[N,4] of what was seen."""
    return torch.stack([prior.signs(s["motion"], s["appearance"], s["score"], s["residual"]) for s in seen])


def set_limits(prior: MotionPrior, train: Tensor, val: Tensor) -> dict:
    """What is usual from train, limits from val: FALSE_ALARMS of its pictures are doubted -> facts."""
    prior.middle.copy_(train.median(0).values)
    prior.spread.copy_((prior.middle - train.quantile(0.16, 0)).clamp(min=1e-4))
    strange, _ = prior.strangeness(val)
    prior.limits.copy_(torch.stack([strange.quantile(1 - FALSE_ALARMS), REFUSAL * strange.max()]))
    usual = {name: float(value) for name, value in zip(SCORES, prior.middle, strict=True)}
    return {"usual": usual, "doubt": float(prior.limits[0]), "refuse": float(prior.limits[1])}


def detection(prior: MotionPrior, eye: Eye, cache: FrameCache, numbers: np.ndarray, rng: np.random.Generator) -> dict:
    """For each kind of odd picture: share without a face, doubted, refused; each out of all."""
    rates = {}
    for kind, make in KINDS.items():
        seen = [eye.look(make(np.array(cache.frames[n]), cache.landmarks[n], rng)) for n in numbers]
        faces = [one for one in seen if one is not None]
        doubts = [prior.doubt(sign) for sign in signs_of(prior, faces)] if faces else []
        caught = [doubt for doubt in doubts if doubt]
        counts = len(seen) - len(faces), len(caught), sum(refused for refused, _ in caught)
        rates[kind] = dict(zip(("no face", "doubted", "refused"), (c / len(seen) for c in counts), strict=True))
        print(f"{kind}: " + ", ".join(f"{key} {value:.0%}" for key, value in rates[kind].items()), flush=True)
    return rates


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the prior that tells faces from what only looks like one.")
    parser.add_argument("--features", default="runs/features", help="made by scripts.extract_features")
    parser.add_argument("--cache", default="runs/cache", help="made by scripts.training.data")
    parser.add_argument("--model", default="lite", help="whose motion space it is for")
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=240, help="of train, and as many of val")
    parser.add_argument("--odd", type=int, default=20, help="pictures of each odd kind")
    parser.add_argument("--out", default="checkpoints/motion_prior.safetensors")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    rng, eye = np.random.default_rng(0), Eye(options.model)
    known = space_hash(eye.space.state_dict())
    size = eye.space.config.encoder.code_size
    config = MotionPriorConfig(code_size=size, directions=min(48, size // 2), space=known)
    prior = MotionPrior(config)
    clips, val_clips = (load_motion(options.features, split) for split in ("train", "val"))
    facts = {"motion": train_flow(prior, clips, val_clips, options.steps, options.batch)}
    seen = {}
    for split, count in (("train", options.pictures), ("val", options.pictures)):
        cache = FrameCache(options.cache, split)
        numbers = choose_frames(cache, count * 5 // 8, count * 3 // 8, rng)
        seen[split] = [eye.look(np.array(cache.frames[n])) for n in numbers]
        print(f"{split}: {sum(one is None for one in seen[split])} of {len(numbers)} have no face", flush=True)
        seen[split] = [one for one in seen[split] if one is not None]
    # One half teaches the Gaussian, the other says what is usual: a Gaussian flatters what it was fitted to.
    half = len(seen["train"]) // 2
    mixed = [seen["train"][n] for n in rng.permutation(len(seen["train"]))]
    fit_appearance(prior, torch.cat([one["appearance"] for one in mixed[:half]]))
    facts |= set_limits(prior, signs_of(prior, mixed[half:]), signs_of(prior, seen["val"]))
    if Path(options.out).is_file():  # the probe of scripts.train_covers stays where it fits
        old, stored = loading.read(options.out)
        if old["prior"] == to_dict(config) and "covers.weight" in stored:
            kept = {name: stored[f"covers.{name}"] for name in prior.covers.state_dict()}
            prior.covers.load_state_dict(kept)
    facts["odd"] = detection(prior, eye, cache, np.flatnonzero(cache.clip < 0)[: options.odd], rng)
    tensors = {key: tensor.contiguous() for key, tensor in prior.state_dict().items()}
    write(Path(options.out), {"prior": to_dict(config)}, tensors)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
