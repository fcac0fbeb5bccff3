"""What the motion prior and the factors of lips, head and lids do, in numbers: the tables of docs/method.md.

python -m scripts.measure_motion idle      sampled codes beside true ones of val: likelihood, steps, head
python -m scripts.measure_motion between   how likely the middle between two expressions is, by both ways
python -m scripts.measure_motion pull      generated frames that the prior would pull back, and what that does to lips
python -m scripts.measure_motion factors --data DIR    --lips, --head and --blink on drawn frames, read again
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anitalker import pipeline
from anitalker.config import InputError, RenderOptions
from anitalker.faces.landmarks import eye_opening, fit_pose, lip_opening
from anitalker.motion.idle import between as between_codes
from anitalker.motion.idle import check_length
from anitalker.motion.idle import idle as idle_codes
from anitalker.motion.prior import MotionPrior
from encoders.audio import SAMPLE_RATE, normalise_level
from scripts.evaluation.metrics import interval, pearson
from scripts.training.motion_data import MotionClip, load_motion

SHORTEST = 75  # frames of a clip that is measured
QUANTILES = (0.001, 0.01, 0.05, 0.5, 0.95, 0.99)
FLOOR = 0.001  # share of true frames of val under the floor of `pull`
FACTORS = (
    ("as made", {}),
    ("--lips 0", {"lips": 0.0}),
    ("--lips 1.5", {"lips": 1.5}),
    ("--head 0", {"head": 0.0}),
    ("--blink 0", {"blink": 0.0}),
    ("--lips 0 --head 0", {"lips": 0.0, "head": 0.0}),  # what lids do to the reading of the head
)


def steps_of(motion: Tensor, prior: MotionPrior, good: np.ndarray | None = None) -> Tensor:
    """Motion [T,M] -> from frame to frame [T-1,3]: length in spreads, of the pose alone, head in degrees."""
    change = motion.diff(dim=0)
    kept = slice(None) if good is None else torch.from_numpy(good[1:] & good[:-1])
    ways = change / prior.motion_std
    found = (ways.norm(dim=1), ways[:, :6].norm(dim=1), torch.rad2deg(change[:, :3].norm(dim=1)))
    return torch.stack(found, 1)[kept]


def true_frames(prior: MotionPrior, clips: list[MotionClip]) -> tuple[Tensor, Tensor, Tensor]:
    """Of clips: log-likelihood of every good frame, steps between good neighbours [n,3], deviation of the head [c]."""
    codes = [torch.from_numpy(clip.codes) for clip in clips]
    with torch.no_grad():
        likely = torch.cat([prior.log_prob(one[clip.good]) for one, clip in zip(codes, clips, strict=True)])
    steps = torch.cat([steps_of(one, prior, clip.good) for one, clip in zip(codes, clips, strict=True)])
    return likely, steps, torch.stack([sway(one[clip.good]) for one, clip in zip(codes, clips, strict=True)])


def sway(motion: Tensor) -> Tensor:
    """Deviation of yaw, pitch and roll over time in degrees, root of their sum of squares."""
    return torch.rad2deg(motion[:, :3]).std(0).square().sum().sqrt()


def idle(talker: pipeline.Talker, clips: list[MotionClip], seconds: float) -> list[str]:
    """Ten seconds from the first code of every clip of val."""
    prior, frames = talker.model.prior, check_length(seconds)
    likely, steps, heads = true_frames(prior, clips)
    low, high = likely.quantile(0.01), likely.quantile(0.99)
    lines = [
        "| codes | log-likelihood, nats: 0.1%, 1%, 5%, 50%, 95%, 99% | in the true 1 to 99% | longest step, spreads "
        "| of the pose | head per frame, degrees | head's deviation, degrees |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    def row(name: str, likely: Tensor, most: Tensor, heads: Tensor) -> None:
        told = " ".join(f"{float(likely.quantile(one)):.1f}" for one in QUANTILES)
        inside = 100 * float(((likely > low) & (likely < high)).float().mean())
        head = f"{float(heads.median()):.1f} ({float(heads.min()):.1f} to {float(heads.max()):.1f})"
        lines.append(f"| {name} | {told} | {inside:.1f}% | {' | '.join(f'{one:.2f}' for one in most)} | {head} |")

    row(f"true, {len(clips)} clips of val (steps: 99th percentile)", likely, steps.quantile(0.99, dim=0), heads)
    for heat in (0.5, 1.0, 1.5):
        made = [
            idle_codes(prior, torch.from_numpy(clip.codes[:1]), frames, torch.Generator().manual_seed(n), heat)
            for n, clip in enumerate(clips)
        ]
        with torch.no_grad():
            values = torch.cat([prior.log_prob(one) for one in made])
        most = torch.cat([steps_of(one, prior) for one in made]).amax(0)
        row(f"sampled, temperature {heat:g} (steps: largest)", values, most, torch.stack([sway(one) for one in made]))
    return lines


def between(talker: pipeline.Talker, clips: list[MotionClip], pairs: int = 300) -> list[str]:
    """Pairs of expressions of different clips, on the pose of the first."""
    rng, prior, found = np.random.default_rng(0), talker.model.prior, []
    for _ in range(pairs):
        one, other = rng.choice(len(clips), 2, replace=False)
        codes = [torch.from_numpy(clips[n].codes[clips[n].good]) for n in (one, other)]
        a, b = (each[int(rng.integers(len(each)))][None] for each in codes)
        ways = [between_codes(way, a, a, b, 4) for way in (prior, None)]  # frames: A, middle, B, middle
        with torch.no_grad():
            found.append([*(float(prior.log_prob(way)[1]) for way in ways), *prior.log_prob(ways[1])[::2].tolist()])
    values = np.array(found)
    gain = values[:, 0] - values[:, 1]
    ends = values[:, 2:].mean(1)
    low, high = interval(gain)
    return [
        f"{pairs} pairs of val: log-likelihood in nats, mean: ends {ends.mean():.1f}, middle through the latent space "
        f"{values[:, 0].mean():.1f}, middle by the straight way {values[:, 1].mean():.1f}; gain {gain.mean():+.1f} "
        f"[{low:+.1f}, {high:+.1f}], the latent way is the likelier in {100 * (gain > 0).mean():.0f}% of pairs."
    ]


def pull(talker: pipeline.Talker, clips: list[MotionClip]) -> list[str]:
    """Speech of val: frames below the floor, lips before and after, by the codes on the clip's own neutral face."""
    from anitalker.motion.windows import generate_motion

    prior, model = talker.model.prior, talker.model
    likely, *_ = true_frames(prior, clips)
    lines = [
        "| floor, nats | share of true frames below | generated frames | pulled | lips before | after | furthest |"
    ]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    made = []
    for clip in (one for one in clips if one.speaks):
        sound = model.speech(normalise_level(torch.from_numpy(clip.sound)))[None]
        start, rng = torch.from_numpy(clip.codes[:1]), torch.Generator().manual_seed(0)
        made.append((clip, generate_motion(model.generator, sound, start, rng, model.sampling_params(RenderOptions()))))
    for share in (FLOOR, 0.01, 0.05):
        floor, total, counted, lips, far = float(likely.quantile(share)), 0, 0, [], 0.0
        for clip, motion in made:
            back, count = prior.pull_back(motion, floor)
            total, counted = total + len(motion), counted + count
            lips.append([pearson(openings(clip, one, talker), clip.lips[: len(one)]) for one in (motion, back)])
            far = max(far, float(((back - motion) / prior.motion_std).norm(dim=1).max()))
        before, after = np.mean(lips, 0)
        told = f"{floor:.1f} | {100 * share:g}% | {total} | {counted} | {before:.3f} | {after:.3f} | {far:.1f} spreads"
        lines.append(f"| {told} |")
    return lines


def openings(clip: MotionClip, motion: Tensor, talker: pipeline.Talker) -> np.ndarray:
    """Lip opening [T] of codes [T,M] on the neutral face of a clip."""
    moved = (motion[:, 6:] @ talker.model.space.directions.T).unflatten(-1, (-1, 3))
    return lip_opening(torch.from_numpy(clip.neutral) + moved).numpy()


def factors(
    talker: pipeline.Talker, stills: Sequence[np.ndarray], speech: np.ndarray, every: int
) -> dict[str, np.ndarray]:
    """Factor -> [stills,3]: deviation over drawn frames of the mouth's opening and of the eyes' in percent, and of the
    head in degrees; landmarks are read again from the frames by the face network."""
    found: dict[str, list] = {name: [] for name, _ in FACTORS}
    for picture in stills:
        portrait = talker.portrait(picture)
        for name, given in FACTORS:
            found[name].append(measure(talker, portrait, speech, RenderOptions(frame="crop", **given), every))
    return {name: np.array(rows) for name, rows in found.items()}


def measure(
    talker: pipeline.Talker, portrait: pipeline.Portrait, speech: np.ndarray, options: RenderOptions, every: int
) -> tuple[float, float, float]:
    """One row of `factors`, of every `every`-th frame."""
    (motion,) = talker.motion(portrait, speech, options)
    frames = np.stack(list(talker.draw(portrait, [motion[::every]], options)))
    (one,) = portrait.faces
    size = frames.shape[1]
    near = one.crop.landmarks[None].repeat(len(frames), 0) * size
    marks = torch.from_numpy(talker.finder().refine(frames, near, passes=3) / size)
    head = torch.rad2deg(fit_pose(marks, talker.model.space.canonical.cpu())[:, :3])
    mouth, eyes = (100 * float(opening(marks).std()) for opening in (lip_opening, eye_opening))
    return mouth, eyes, float(head.std(0).square().sum().sqrt())


def factors_table(found: dict[str, np.ndarray]) -> list[str]:
    """Medians over stills, and beside them medians of what is left of the same still as made, with intervals."""
    usual = found[FACTORS[0][0]]
    lines = ["| options | mouth, % of face height | of as made | eyes, % of eye width | of as made | head, degrees |"]
    lines[0] += " of as made |"
    lines.append("| --- |" + " --- |" * 6)
    for name, rows in found.items():
        cells = []
        for column, digits in enumerate((2, 2, 2)):
            share = rows[:, column] / usual[:, column]
            low, high = interval(share)
            cells += [f"{np.median(rows[:, column]):.{digits}f}", f"{share.mean():.2f} [{low:.2f}, {high:.2f}]"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("idle", "between", "pull", "factors"))
    parser.add_argument("--features", default="runs/features", help="of scripts.extract_features")
    parser.add_argument("--data", help="folder laid out as scripts.prepare_data writes it: its val stills")
    parser.add_argument("--speech", default="app/examples/speech.flac")
    parser.add_argument("--seconds", type=float, help="of idle motion (10) or of the speech (all)")
    parser.add_argument("--stills", type=int, default=6)
    parser.add_argument("--every", type=int, default=2, help="frames from one that is drawn to the next")
    parser.add_argument("--model", default="lite")
    arguments = parser.parse_args(argv)
    try:
        lines = told(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def told(arguments: argparse.Namespace) -> list[str]:
    """The lines of one part."""
    talker = pipeline.load(arguments.model, "cpu")
    if arguments.part == "factors":
        from anitalker.media.video import read_audio
        from scripts.training.data import load_stills

        if not arguments.data:
            raise InputError("factors came without --data; give the folder whose val stills shall speak")
        known = [picture for _, picture, _ in load_stills(arguments.data, ("val",))]
        step = max(1, len(known) // arguments.stills)
        stills = list(itertools.islice(known[::step], arguments.stills))
        speech = read_audio(Path(arguments.speech))[: round((arguments.seconds or 1e6) * SAMPLE_RATE)]
        return factors_table(factors(talker, stills, speech, arguments.every))
    if talker.model.prior is None:
        raise InputError(f"model {talker.name} has no motion prior; take --model lite")
    clips = [c for c in load_motion(arguments.features, "val") if len(c.codes) >= SHORTEST and c.good.mean() > 0.8]
    if arguments.part == "idle":
        return idle(talker, clips, arguments.seconds or 10.0)
    return {"between": between, "pull": pull}[arguments.part](talker, clips)


if __name__ == "__main__":
    sys.exit(main())
