"""How few sampler steps will do: motion at n steps against 50 from the same noise, on val clips, from codes.

    python -m scripts.sampler_steps [--features runs/features] [--model lite] [--steps 1 2 4 8] [--seeds 2]
    python -m scripts.sampler_steps --original                    # along the original's path, by its sampler
    python -m scripts.sampler_steps --denoiser runs/denoiser      # the same with its network, trained on label codes

--original lets `lite`'s network say what the clean motion is, which a change of variables allows. A number of steps
passes when its motion differs from that of 50 steps by less than two seeds do, and its head still sways KEPT as far:
one step lands on the mean of all motions that fit, which is near and hardly moves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, SAMPLE_RATE, DenoiserConfig, InputError, from_dict
from anitalker.models.loading import read
from anitalker.motion.generator import CONTROLS, MotionGenerator
from anitalker.motion.samplers import TRAINED, ddim_sample, ddim_schedule
from anitalker.motion.windows import SamplingParams, generate_motion
from anitalker.original.denoiser import Condition, Denoiser
from encoders.audio import SAMPLES_PER_FRAME, normalise_level
from scripts.train_generator import openings
from scripts.training.denoiser_data import REACH, Scale, cepstra
from scripts.training.loop import load_module, weights_of
from scripts.training.motion_data import MotionClip, load_motion
from scripts.training.motion_statistics import Space, measure

MANY = 50  # steps that count as exact
KEPT = 0.9  # of the head's sway
LONGEST = 10  # seconds of a clip
PARTS = {"all": slice(None), "head": slice(0, POSE_SIZE), "face": slice(POSE_SIZE, None)}


@dataclass(frozen=True)
class Subject:
    """What is studied: `made(clip, steps, seed)` gives motion codes [T,20]; std [20] of motion, their unit."""

    made: Callable[[MotionClip, int, int], Tensor]
    std: Tensor


def of_lite(network: MotionGenerator, features: Callable[[Tensor], Tensor]) -> Subject:
    """`lite`'s generator with its speech features."""

    def made(clip: MotionClip, steps: int, seed: int) -> Tensor:
        rng, wishes = torch.Generator().manual_seed(seed), SamplingParams(steps=steps)
        speech = features(normalise_level(torch.from_numpy(clip.sound[: LONGEST * SAMPLE_RATE])))[None]
        return generate_motion(network, speech, torch.from_numpy(clip.codes[:1]), rng, wishes)

    return Subject(made, network.std)


def on_the_originals_path(network: MotionGenerator, features: Callable) -> Subject:
    """`lite`'s network, without guidance and finish, as if it were the original's: it tells the noise in REACH-th parts
    of normalised motion. Noise and motion are mixed a:s there and t:(1-t) here, so t = a / (a + REACH s)."""
    kept = ddim_schedule(TRAINED).alpha_bar.float()

    def made(clip: MotionClip, steps: int, seed: int) -> Tensor:
        frames = min(len(clip.codes), network.config.window)
        heard = features(normalise_level(torch.from_numpy(clip.sound[: (frames + 1) * SAMPLES_PER_FRAME])))[None]
        heard, start = network.encode_speech(heard[:, : frames + 1]), torch.from_numpy(clip.codes[:1])
        before = network.normalise(start[None], start)
        frames = heard.shape[1] - 1
        nothing = torch.zeros(1, frames + 1, len(CONTROLS))

        def noise_in(x: Tensor, time: Tensor) -> Tensor:
            signal, spread = kept[time.long()].sqrt(), (1 - kept[time.long()]).sqrt()
            t = signal / (signal + REACH * spread)
            clean = network(x * REACH * t / signal, t, heard, start, before, nothing, nothing, torch.tensor([False]))
            return (x - signal * clean / REACH) / spread

        noise = torch.randn(1, frames, network.config.motion_size, generator=torch.Generator().manual_seed(seed))
        return network.denormalise(REACH * ddim_sample(noise_in, noise, steps), start)[0]

    return Subject(made, network.std)


def of_denoiser(network: Denoiser, scale: Scale) -> Subject:
    """The original's network, trained on scaled label codes."""

    conditions: dict[str, Condition] = {}

    def made(clip: MotionClip, steps: int, seed: int) -> Tensor:
        frames, name = min(len(clip.codes), LONGEST * FPS), clip.row["id"]
        if name not in conditions:
            heard = torch.from_numpy(cepstra(clip.sound[: frames * SAMPLES_PER_FRAME], frames))[None]
            start = torch.from_numpy(scale.shrink(clip.codes[:1], clip.codes[0]))
            conditions[name] = network.condition(heard, torch.zeros(1, network.config.start), start)
        noise = torch.randn(1, frames, network.config.motion, generator=torch.Generator().manual_seed(seed))
        drawn = ddim_sample(lambda x, time: network(conditions[name], x, time), noise, steps)
        return scale.stretch(drawn[0], clip.codes[0])

    return Subject(made, torch.from_numpy(scale.std).float())


@torch.no_grad()
def study(
    subject: Subject,
    clips: Sequence[MotionClip],
    space: Space,
    counts: Sequence[int],
    seeds: int = 2,
) -> list[dict]:
    """One row per number of steps; the first is of MANY steps, its distances those between neighbouring seeds."""

    def drawn(steps: int) -> list[list[Tensor]]:
        return [[subject.made(clip, steps, seed) for clip in clips] for seed in range(seeds)]

    exact = drawn(MANY)
    rows = [row(subject.std, clips, space, MANY, exact, exact[1:] + exact[:1])]
    for steps in counts:
        rows.append(row(subject.std, clips, space, steps, drawn(steps), exact))
        nearer = rows[-1]["all"] < rows[0]["all"]
        rows[-1]["passes"] = bool(nearer and rows[-1]["sway"] >= KEPT * rows[0]["sway"])
    return rows


def row(
    std: Tensor,
    clips: Sequence[MotionClip],
    space: Space,
    steps: int,
    made: list[list[Tensor]],
    others: list[list[Tensor]],
) -> dict:
    """Distances of motion to others in deviations of each number; lip correlation, sway and jerk of the head."""
    flat, against = ([motion for one in every for motion in one] for every in (made, others))
    away = [((a - b) / std).square() for a, b in zip(flat, against, strict=True)]
    found = {name: float(np.sqrt(np.mean([float(d[:, part].mean()) for d in away]))) for name, part in PARTS.items()}
    turns = [torch.rad2deg(motion[:, :3]) for motion in flat]
    lips = [_lips(clip, motion, space) for motions in made for clip, motion in zip(clips, motions, strict=True)]
    return {
        "steps": steps,
        **found,
        "lip_correlation": float(np.mean(lips)),
        "sway": float(np.mean([float(turn.std(0).mean()) for turn in turns])),
        "jerk": float(np.mean([float(turn.diff(n=2, dim=0).square().mean().sqrt()) for turn in turns])),
    }


def _lips(clip: MotionClip, motion: Tensor, space: Space) -> float:
    made, true = openings(clip, motion, space), clip.lips[: len(motion)]
    return float(np.corrcoef(made, true)[0, 1]) if made.std() > 1e-6 and true.std() > 1e-6 else 0.0


def table(rows: list[dict]) -> str:
    """Markdown; the first row's distances are between seeds."""
    names = [name for name in rows[0] if name != "steps"]
    lines = ["| steps | " + " | ".join(names) + " | passes |", "|" + " --- |" * (len(names) + 2)]
    for number, one in enumerate(rows):
        steps = f"{one['steps']}, another seed" if not number else str(one["steps"])
        said = "" if not number else "yes" if one["passes"] else "no"
        lines.append("| " + " | ".join([steps, *(f"{one[name]:.3f}" for name in names), said]) + " |")
    return "\n".join(lines)


def subject_of(options: argparse.Namespace, scale: Scale) -> tuple[Subject, tuple[int, ...]]:
    """What is studied, and usual numbers of its steps."""
    if options.denoiser is not None:
        config, _ = read(weights_of(options.denoiser))
        network = Denoiser(from_dict(DenoiserConfig, config["stage2"])).eval()
        load_module(network, options.denoiser, "stage2")
        return of_denoiser(network, scale), (3, 4, 5, 8, 10, 12, 16, 20, 25)
    from anitalker.models.loading import load_model

    lite = load_model(options.model)
    if options.original:
        return on_the_originals_path(lite.generator.eval(), lite.speech), (3, 4, 5, 8, 10, 12, 16, 20, 25)
    return of_lite(lite.generator.eval(), lite.speech), (1, 2, 3, 4, 5, 6, 8, 10, 16, 25)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", default="runs/features", help="folder made by scripts.extract_features")
    parser.add_argument("--model", default="lite", help="registry name, file or folder")
    parser.add_argument("--original", action="store_true", help="on the path and by the samplers of the original")
    parser.add_argument("--denoiser", help="instead of a model: run of scripts.train_denoiser on label codes")
    parser.add_argument("--steps", nargs="+", type=int, help="default: those of the documentation's tables")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds needs at least 2, which are compared with each other")
    try:
        train, val = (load_motion(options.features, split) for split in ("train", "val"))
        space = measure(options.features, train)
        clips = [clip for clip in val if clip.speaks and clip.row["generated"] == "no"]
        subject, steps = subject_of(options, Scale(space.mean, space.std))
        print(table(study(subject, clips, space, options.steps or steps, options.seeds)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
