"""What the motion prior and the factors of lips, head and lids do, in numbers: the tables of docs/method.md.

    python -m scripts.study measure_motion idle|between
    python -m scripts.study measure_motion factors --data DIR

idle     sampled codes beside true ones of val: likelihood, steps, head
between  how likely the middle between two expressions is, by both ways
factors  --lips, --head and --blink on drawn frames, read again
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anitalker import pipeline
from anitalker.config import FPS, InputError, RenderOptions
from anitalker.faces.landmarks import eye_opening, fit_pose, lip_opening
from anitalker.media.video import read_audio
from anitalker.motion import idle
from anitalker.motion.prior import MotionPrior
from scripts.evaluation.metrics import interval
from scripts.markdown import table
from scripts.studies.seams import SPEECH
from scripts.training.data import load_stills
from scripts.training.motion_data import MotionClip, load_motion

SHORTEST = 75  # frames of a clip that is measured
IDLE_SECONDS = 10
TEMPERATURES = (0.5, 1.0, 1.5)
QUANTILES = (0.001, 0.01, 0.05, 0.5, 0.95, 0.99)
FACTORS = {
    "as made": {},
    "--lips 0": {"lips": 0.0},
    "--lips 1.5": {"lips": 1.5},
    "--head 0": {"head": 0.0},
    "--blink 0": {"blink": 0.0},
    "--lips 0 --head 0": {"lips": 0.0, "head": 0.0},  # what lids do to the reading of the head
}
STILLS = 6  # whose factors are measured
EVERY = 2  # frames from one that is drawn to the next


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("part", choices=("idle", "between", "factors"))
    parser.add_argument("--features", default="runs/features", help="of scripts.extract_features")
    parser.add_argument("--data", help="folder laid out as scripts.prepare_data writes it: its val stills")


def run(arguments: argparse.Namespace) -> int:
    """Print one part."""
    if arguments.part == "factors" and not arguments.data:
        raise InputError("factors came without --data; give the folder whose val stills shall speak")
    talker = pipeline.load("lite", "cpu")
    if arguments.part == "factors":
        stills = [picture for _, picture, _ in load_stills(arguments.data, ("val",))]
        stills = stills[:: max(1, len(stills) // STILLS)][:STILLS]
        print(factors_table(factors(talker, stills, read_audio(SPEECH), EVERY)))
        return 0
    prior = talker.model.prior
    clips = [c for c in load_motion(arguments.features, "val") if len(c.codes) >= SHORTEST and c.good.mean() > 0.8]
    print(measure_idle(prior, clips, IDLE_SECONDS * FPS) if arguments.part == "idle" else measure_between(prior, clips))
    return 0


def steps_of(motion: Tensor, prior: MotionPrior) -> Tensor:
    """Motion [T,M] -> from frame to frame [T-1,3]: length in spreads, of the pose alone, head in degrees."""
    change = motion.diff(dim=0)
    spreads = change / prior.motion_std
    lengths = (spreads.norm(dim=1), spreads[:, :6].norm(dim=1), torch.rad2deg(change[:, :3].norm(dim=1)))
    return torch.stack(lengths, 1)


def sway(motion: Tensor) -> Tensor:
    """Deviation of yaw, pitch and roll over time in degrees, root of their sum of squares."""
    return torch.rad2deg(motion[:, :3]).std(0).square().sum().sqrt()


@torch.no_grad()
def true_frames(prior: MotionPrior, clips: list[MotionClip]) -> tuple[Tensor, Tensor, Tensor]:
    """Of clips: log-likelihood of every good frame, steps between good neighbours [n,3], deviation of the head [c]."""
    likely, steps, heads = [], [], []
    for clip in clips:
        motion, good = torch.from_numpy(clip.codes), torch.from_numpy(clip.good)
        likely.append(prior.log_prob(motion[good]))
        steps.append(steps_of(motion, prior)[good[1:] & good[:-1]])
        heads.append(sway(motion[good]))
    return torch.cat(likely), torch.cat(steps), torch.stack(heads)


@torch.no_grad()
def measure_idle(prior: MotionPrior, clips: list[MotionClip], frames: int) -> str:
    """Table of true codes and of sampled ones, which start at the first code of every clip."""
    likely, steps, heads = true_frames(prior, clips)
    low, high = likely.quantile(0.01), likely.quantile(0.99)

    def row(name: str, likely: Tensor, most: Tensor, heads: Tensor) -> list[str]:
        quantiles = " ".join(f"{float(likely.quantile(share)):.1f}" for share in QUANTILES)
        inside = 100 * float(((likely > low) & (likely < high)).float().mean())
        head = f"{float(heads.median()):.1f} ({float(heads.min()):.1f} to {float(heads.max()):.1f})"
        return [name, quantiles, f"{inside:.1f}%", *(f"{step:.2f}" for step in most), head]

    rows = [
        row(f"true, {len(clips)} clips of val (steps: 99th percentile)", likely, steps.quantile(0.99, dim=0), heads)
    ]
    for heat in TEMPERATURES:
        starts = [torch.from_numpy(clip.codes[:1]) for clip in clips]
        motions = [
            idle.sample_idle_motion(prior, start, frames, torch.Generator().manual_seed(seed), heat)
            for seed, start in enumerate(starts)
        ]
        values = torch.cat([prior.log_prob(motion) for motion in motions])
        most = torch.cat([steps_of(motion, prior) for motion in motions]).amax(0)
        swaying = torch.stack([sway(motion) for motion in motions])
        rows.append(row(f"sampled, temperature {heat:g} (steps: largest)", values, most, swaying))
    headings = ("codes", "log-likelihood, nats: 0.1%, 1%, 5%, 50%, 95%, 99%", "in the true 1 to 99%")
    headings += ("longest step, spreads", "of the pose", "head per frame, degrees", "head's deviation, degrees")
    return table(headings, rows)


@torch.no_grad()
def measure_between(prior: MotionPrior, clips: list[MotionClip], pairs: int = 300) -> str:
    """Pairs of expressions of different clips, on the pose of the first."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(pairs):
        chosen = [clips[n] for n in rng.choice(len(clips), 2, replace=False)]
        codes = [torch.from_numpy(clip.codes[clip.good]) for clip in chosen]
        a, b = (motion[int(rng.integers(len(motion)))][None] for motion in codes)
        # Frames of both ways: A, middle, B, middle.
        latent, straight = (prior.log_prob(idle.interpolate_expressions(way, a, a, b, 4)) for way in (prior, None))
        rows.append([float(latent[1]), float(straight[1]), float(straight[::2].mean())])
    latent, straight, ends = np.array(rows).T
    gain = latent - straight
    low, high = interval(gain)
    return (
        f"{pairs} pairs of val: log-likelihood in nats, mean: ends {ends.mean():.1f}, middle through the latent space "
        f"{latent.mean():.1f}, middle by the straight way {straight.mean():.1f}; gain {gain.mean():+.1f} "
        f"[{low:+.1f}, {high:+.1f}], the latent way is the likelier in {100 * (gain > 0).mean():.0f}% of pairs."
    )


def factors(
    talker: pipeline.Talker, stills: Sequence[np.ndarray], speech: np.ndarray, every: int
) -> dict[str, np.ndarray]:
    """Factor -> [stills,3]: deviation over drawn frames of the mouth's opening and of the eyes' in percent, and of the
    head in degrees; landmarks are read again from the frames by the face network."""
    portraits = [talker.portrait(picture) for picture in stills]
    return {
        name: np.array([
            measure(talker, portrait, speech, RenderOptions(frame="crop", **options), every) for portrait in portraits
        ])
        for name, options in FACTORS.items()
    }  # fmt: skip


def measure(
    talker: pipeline.Talker, portrait: pipeline.Portrait, speech: np.ndarray, options: RenderOptions, every: int
) -> tuple[float, float, float]:
    """One row of `factors`, of every `every`-th frame."""
    (motion,) = talker.motion(portrait, speech, options)
    frames = np.stack(list(talker.draw(portrait, [motion[::every]], options)))
    size = frames.shape[1]
    near = portrait.faces[0].crop.landmarks[None].repeat(len(frames), 0) * size
    marks = torch.from_numpy(talker.finder().refine(frames, near, passes=3) / size)
    poses = fit_pose(marks, talker.model.space.canonical.cpu())
    mouth, eyes = (100 * float(opening(marks).std()) for opening in (lip_opening, eye_opening))
    return mouth, eyes, float(sway(poses))


def factors_table(measured: dict[str, np.ndarray]) -> str:
    """Medians over stills, and beside them means of what is left of the same still as made, with intervals."""
    rows = []
    for name, values in measured.items():
        cells = [name]
        for column, usual in zip(values.T, measured["as made"].T, strict=True):
            share = column / usual
            low, high = interval(share)
            cells += [f"{np.median(column):.2f}", f"{share.mean():.2f} [{low:.2f}, {high:.2f}]"]
        rows.append(cells)
    headings = ("options", "mouth, % of face height", "of as made", "eyes, % of eye width", "of as made")
    return table((*headings, "head, degrees", "of as made"), rows)
