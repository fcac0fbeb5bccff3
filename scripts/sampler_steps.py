"""How few sampler steps will do: motion of `lite` at n steps against 50 from the same noise, on val clips, from codes.

    python -m scripts.sampler_steps [--features runs/features] [--model lite] [--steps 1 2 4 8] [--seeds 2]

A number of steps passes when its motion differs from that of 50 steps by less than two seeds do, and its head still
sways KEPT as far: one step lands on the mean of all motions that fit, which is near and hardly moves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from anitalker.config import POSE_SIZE, SAMPLE_RATE, InputError
from anitalker.generator import MotionGenerator, Wishes, generate
from encoders.audio import normalise_level
from scripts.train_generator import openings
from scripts.training.motion_data import MotionClip, load_motion
from scripts.training.motion_statistics import Space, measure

MANY = 50  # steps that count as exact
KEPT = 0.9  # of the head's sway
LONGEST = 10  # seconds of a clip
PARTS = {"all": slice(None), "head": slice(0, POSE_SIZE), "face": slice(POSE_SIZE, None)}


@torch.no_grad()
def study(
    network: MotionGenerator,
    features: Callable[[Tensor], Tensor],
    clips: Sequence[MotionClip],
    space: Space,
    counts: Sequence[int],
    seeds: int = 2,
) -> list[dict]:
    """One row per number of steps; the first is of MANY steps, its distances those between neighbouring seeds."""
    heard = [features(normalise_level(torch.from_numpy(clip.sound[: LONGEST * SAMPLE_RATE])))[None] for clip in clips]

    def made(steps: int, seed: int) -> list[Tensor]:
        pairs, wishes = zip(clips, heard, strict=True), Wishes(steps=steps)
        starts = ((torch.from_numpy(clip.codes[:1]), speech) for clip, speech in pairs)
        return [
            generate(network, speech, start, torch.Generator().manual_seed(seed), wishes) for start, speech in starts
        ]

    exact = [made(MANY, seed) for seed in range(seeds)]
    rows = [row(network, clips, space, MANY, exact, exact[1:] + exact[:1])]
    for steps in counts:
        rows.append(row(network, clips, space, steps, [made(steps, seed) for seed in range(seeds)], exact))
        nearer = rows[-1]["all"] < rows[0]["all"]
        rows[-1]["passes"] = bool(nearer and rows[-1]["sway"] >= KEPT * rows[0]["sway"])
    return rows


def row(network, clips, space: Space, steps: int, made: list[list[Tensor]], others: list[list[Tensor]]) -> dict:
    """Distances of motion to others in deviations of each number; lip correlation, sway and jerk of the head."""
    flat, against = ([motion for one in every for motion in one] for every in (made, others))
    away = [((a - b) / network.std).square() for a, b in zip(flat, against, strict=True)]
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", default="runs/features", help="folder made by scripts.extract_features")
    parser.add_argument("--model", default="lite", help="registry name, file or folder")
    parser.add_argument("--steps", nargs="+", type=int, default=(1, 2, 3, 4, 5, 6, 8, 10, 16, 25))
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds needs at least 2, which are compared with each other")
    from anitalker.weights import load_model

    try:
        train, val = (load_motion(options.features, split) for split in ("train", "val"))
        networks = load_model(options.model)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    clips = [clip for clip in val if clip.speaks and clip.row["generated"] == "no"]
    space = measure(options.features, train)
    print(table(study(networks.generator.eval(), networks.speech, clips, space, options.steps, options.seeds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
