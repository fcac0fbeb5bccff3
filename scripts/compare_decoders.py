"""How wide, how fine, which flow? Decoders under equal short trainings: the same data, steps, seed and scores on `val`.
`lite` in several widths and resolutions, with an encoder that learns along and with numbers of motion beside the 20,
and the original's learned pyramid of flows.

    python -m scripts.compare_decoders --data DIR               an hour and a half on a core
    python -m scripts.compare_decoders --data DIR --steps 4     a rehearsal

Kill it whenever you like: the same command continues, arm by arm. The table goes to docs/decoders.md, the numbers to
docs/decoders.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from anitalker.config import InputError
from scripts.evaluation.perception import features_file
from scripts.training.arms import cell, save_report, score_arms, train_arm

SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints/lite.safetensors"
LITE = ("--preset", "lite-256", "--stage", "decoder", "--codes", str(SHIPPED))
FROZEN = (*LITE, "--frozen")
# The original's terms and rates as the ablation has them; at 128 pixels, a quarter of the work.
PYRAMID = ("--preset", "full-256", "--size", "128", "--lr", "2e-3", "--flow", "0.1", "--half-life", "2000")
# Name -> (what it is, flags of train_motion_space)
ARMS = {
    "shipped": ("lite as shipped: 24 to 128 channels, 128x128 places", FROZEN),
    "narrow": ("16 to 96 channels", (*FROZEN, "--channels", "16,32,64,96")),
    "wide": ("32 to 192 channels", (*FROZEN, "--channels", "32,64,128,192")),
    "coarse": ("synthesis at 64x64 places", (*FROZEN, "--block", "4", "--channels", "48,96,128")),
    "learning": ("as shipped, the encoder learns along", LITE),
    "learned-4": ("the same and 4 learned numbers (gaze, tongue)", (*LITE, "--learned", "4")),
    "pyramid-quarter": ("the original's learned flow, a quarter of its width", (*PYRAMID, "--width", "0.25")),
    "fine": ("synthesis at 256x256 places", (*FROZEN, "--block", "1", "--channels", "16,24,48,96,128")),
    "pyramid-half": ("the original's learned flow, half its width", (*PYRAMID, "--width", "0.5")),
}
STEPS, BATCH = 200, 8
# Score -> (heading, digits, whether more is better)
COLUMNS = {
    "whole": ("gain over copying, dB", 2, True),
    "face": ("in the face, dB", 2, True),
    "mouth": ("mouth, distance", 3, False),
    "eyes": ("eyes, distance", 3, False),
}


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        return compare(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def compare(arguments: argparse.Namespace) -> int:
    """Train and score what is not done yet, then write table and numbers; the exit status."""
    from scripts.evaluation.variants import score_variant

    features = features_file(arguments.data, arguments.features)
    out, table = Path(arguments.out), Path(arguments.table)
    plan = {"steps": arguments.steps, "batch": arguments.batch, "seed": arguments.seed}
    results = score_arms(
        arguments.arms,
        out,
        plan,
        lambda arm, folder: run_training(arguments, arm, folder, features),
        lambda folder: score_variant(folder, arguments.cache, features),
        lambda scores: ", ".join(f"{COLUMNS[name][0]} {_cell(scores['model'], name)}" for name in COLUMNS),
    )
    if results is None:
        return 130
    save_report(table, {"plan": plan, "arms": results}, table_of(plan, results))
    return 0


def run_training(arguments: argparse.Namespace, arm: str, folder: Path, features: str) -> None:
    """Train one arm, or go on with it."""
    own = {"features": features, "warm": max(1, arguments.steps // 10), "decay": 0.98}
    train_arm(arm, arguments, folder, arguments.steps, own, ARMS[arm][1])


def table_of(plan: dict, arms: dict) -> str:
    """The Markdown page: every arm, the bare warp, and what differs clearly from what is shipped."""
    lines = [
        "# Decoders compared",
        "",
        "Made by `python -m scripts.compare_decoders`; do not edit. Every arm was trained from nothing for",
        f"{plan['steps']} steps of {plan['batch']} pairs from the same seed; encoder and HAL begin as shipped and stay",
        "so unless said otherwise; scores on `val`: unseen people, the first frame of a clip driven to later ones by",
        "codes read from pixels. Brackets: 95% bootstrap interval over clips. Distance: perceptual, on mouth or eyes",
        "alone, as a share of copying's distance (the loss uses the same network; below 1 is better than copying).",
        "The original's decoder learns its flow from pixels at 128 pixels, motion codes and all; its gain is over",
        "copying at that size. Milliseconds: processor time of one frame's networks and flow in float32.",
        "Short trainings: they say what learns quickly, not what a long training would end with.",
        "",
        "| decoder | "
        + " | ".join(heading + (" ↑" if up else " ↓") for heading, _, up in COLUMNS.values())
        + " | ms a frame ↓ | million parameters ↓ |",
        "| --- |" + " --- |" * (len(COLUMNS) + 2),
    ]
    for arm, stored in arms.items():
        scores = stored["scores"]
        cells = [_cell(scores["model"], name) for name in COLUMNS]
        lines.append(
            f"| {ARMS[arm][0]} | {' | '.join(cells)} | {scores['milliseconds']:.0f} | {scores['parameters']:.2f} |"
        )
    first = next((s["scores"]["warp"] for s in arms.values() if "warp" in s["scores"]), None)
    if first:
        lines.append(f"| the landmark warp alone | {' | '.join(_cell(first, name) for name in COLUMNS)} |  |  |")
    return "\n".join([*lines, "", *verdict(arms)]) + "\n"


def verdict(arms: dict) -> list[str]:
    """Differences to what is shipped, clip by clip."""
    from scripts.evaluation.metrics import interval

    if "shipped" not in arms:
        return []
    base = arms["shipped"]["scores"]["model"]
    lines = ["Difference to the first row, clip by clip (whole picture, dB; mouth, share of copying's distance):", ""]
    for arm, stored in arms.items():
        if arm == "shipped":
            continue
        told = []
        for name in ("whole", "mouth"):
            own = stored["scores"]["model"]
            if name in own and name in base:
                off = [a - b for a, b in zip(own[name]["clips"], base[name]["clips"], strict=True)]
                low, high = interval(off)
                clear = " *" if low > 0 or high < 0 else ""
                told.append(f"{sum(off) / len(off):+.3f} [{low:+.3f}, {high:+.3f}]{clear}")
        lines.append(f"* {ARMS[arm][0]}: {'; '.join(told)}")
    return [*lines, "", "\\* the interval leaves out zero."]


def _cell(scores: dict, name: str) -> str:
    return cell(scores.get(name), COLUMNS[name][1])


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--out", default="runs/decoders", help="folder of the arms")
    parser.add_argument("--table", default="docs/decoders.md")
    parser.add_argument(
        "--features", help="network of the perceptual loss and distance (default: the data folder's own)"
    )
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--steps", type=int, default=STEPS, help="of every arm")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
