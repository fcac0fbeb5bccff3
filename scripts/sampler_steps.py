"""How few sampler steps will do: motion at n steps against 50 from the same noise, on val clips, from codes.

    python -m scripts.sampler_steps [--features runs/features] [--model lite] [--steps 1 2 4 8] [--seeds 2]
    python -m scripts.sampler_steps --denoiser runs/denoiser     # the original's network, trained on label codes

The original's network is asked by its own sampler (DDIM) and by a solver of second order; both are held against 50
steps of its own. A number of steps passes when its motion differs from that by less than two seeds do, and its head
still sways KEPT as far: one step lands on the mean of all motions that fit, which is near and hardly moves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.config import FPS, POSE_SIZE, SAMPLE_RATE, DenoiserConfig, InputError, from_dict
from anitalker.conformer import Condition, Denoiser
from anitalker.diffusion import ddim_sample, dpm_sample
from anitalker.generator import MotionGenerator, Wishes, generate
from anitalker.weights import read
from encoders.audio import SAMPLES_PER_FRAME, normalise_level
from scripts.train_generator import openings
from scripts.training.denoiser_data import Scale, cepstra
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
        rng, wishes = torch.Generator().manual_seed(seed), Wishes(steps=steps)
        speech = features(normalise_level(torch.from_numpy(clip.sound[: LONGEST * SAMPLE_RATE])))[None]
        return generate(network, speech, torch.from_numpy(clip.codes[:1]), rng, wishes)

    return Subject(made, network.std)


def of_denoiser(network: Denoiser, scale: Scale, sampler: Callable = ddim_sample) -> Subject:
    """The original's network, trained on scaled label codes."""

    conditions: dict[str, Condition] = {}

    def made(clip: MotionClip, steps: int, seed: int) -> Tensor:
        frames, name = min(len(clip.codes), LONGEST * FPS), clip.row["id"]
        if name not in conditions:
            heard = torch.from_numpy(cepstra(clip.sound[: frames * SAMPLES_PER_FRAME], frames))[None]
            start = torch.from_numpy(scale.shrink(clip.codes[:1], clip.codes[0]))
            conditions[name] = network.condition(heard, torch.zeros(1, network.config.start), start)
        noise = torch.randn(1, frames, network.config.motion, generator=torch.Generator().manual_seed(seed))
        drawn = sampler(lambda x, time: network(conditions[name], x, time), noise, steps)
        return scale.stretch(drawn[0], clip.codes[0])

    return Subject(made, torch.from_numpy(scale.std).float())


@torch.no_grad()
def study(
    subject: Subject,
    clips: Sequence[MotionClip],
    space: Space,
    counts: Sequence[int],
    seeds: int = 2,
    many: Subject | None = None,
) -> list[dict]:
    """One row per number of steps; the first is of MANY steps (of `many`, if that is another sampler), its distances
    those between neighbouring seeds."""

    def drawn(by: Subject, steps: int) -> list[list[Tensor]]:
        return [[by.made(clip, steps, seed) for clip in clips] for seed in range(seeds)]

    exact = drawn(many or subject, MANY)
    rows = [row(subject.std, clips, space, MANY, exact, exact[1:] + exact[:1])]
    for steps in counts:
        rows.append(row(subject.std, clips, space, steps, drawn(subject, steps), exact))
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


def subjects(denoiser: str | None, model: str, scale: Scale) -> Iterator[tuple[str, Subject, Subject | None, tuple]]:
    """(name, what is studied, what its many steps are made by if not by itself, usual numbers of steps)."""
    if denoiser is None:
        from anitalker.weights import load_model

        networks = load_model(model)
        yield (
            networks.name,
            of_lite(networks.generator.eval(), networks.speech),
            None,
            (1, 2, 3, 4, 5, 6, 8, 10, 16, 25),
        )
        return
    config, _ = read(weights_of(denoiser))
    network = Denoiser(from_dict(DenoiserConfig, config["stage2"])).eval()
    load_module(network, denoiser, "stage2")
    exact = of_denoiser(network, scale)
    yield "DDIM", exact, None, (3, 4, 5, 8, 10, 12, 16, 20, 25)
    yield "DPM-Solver++ (2M)", of_denoiser(network, scale, dpm_sample), exact, (3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 50)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", default="runs/features", help="folder made by scripts.extract_features")
    parser.add_argument("--model", default="lite", help="registry name, file or folder")
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
        for name, subject, many, steps in subjects(options.denoiser, options.model, Scale(space.mean, space.std)):
            print(f"{name}\n\n{table(study(subject, clips, space, options.steps or steps, options.seeds, many))}\n")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
