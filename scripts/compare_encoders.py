"""Does HAL help, do high-resolution streams help? Image encoders of every family under the same training: stage `codes`
of lite, the same data, steps and seed; then the same scores on `val`, one table.

    python -m scripts.compare_encoders --data DIR                                       hours on a CPU
    python -m scripts.compare_encoders --data DIR --steps 400 --hrnet hrnet_w18_small    one and a half
    python -m scripts.compare_encoders --data DIR --steps 4                             a rehearsal

Kill it whenever you like: the same command continues, arm by arm. The table goes to docs/encoders.md, the numbers to
docs/encoders.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from anitalker.config import InputError
from encoders.image import HRNETS
from scripts.training.arms import cell, save_report, score_arms, train_arm

# Name -> (what it is, flags of train_motion_space; HRNET stands for the one chosen). v1 and v2 give one map, HAL has
# nothing to weigh: the controls.
HRNET = "HRNET"
ARMS = {
    "lia": ("lia, HAL", ("--encoder", "lia")),
    "lia-last": ("lia, last stage", ("--encoder", "lia", "--no-hal")),
    "hrnet-v1": (f"{HRNET}, V1", ("--encoder", HRNET, "--head", "v1")),
    "hrnet-v2": (f"{HRNET}, V2", ("--encoder", HRNET, "--head", "v2")),
    "hrnet-v2p": (f"{HRNET}, V2p, HAL", ("--encoder", HRNET, "--head", "v2p")),
    "resnet": ("ResNet-18, HAL", ("--encoder", "resnet")),
    "hrnet-branches": (f"{HRNET}, branches, HAL", ("--encoder", HRNET, "--head", "branches")),
}
STEPS, BATCH = 1500, 8
# Score -> (heading, digits, whether more is better)
COLUMNS = {
    "landmark": ("landmarks driven, % of face", 2, False),
    "pose": ("pose, R²", 3, True),
    "lips": ("lip opening, R²", 3, True),
    "eyes": ("eye opening, R²", 3, True),
    "milliseconds": ("ms a picture", 1, False),
    "parameters": ("million parameters", 2, False),
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
    from scripts.evaluation.encoders import score_encoder

    out, table = Path(arguments.out), Path(arguments.table)
    plan = {"steps": arguments.steps, "batch": arguments.batch, "seed": arguments.seed, "hrnet": arguments.hrnet}
    results = score_arms(
        arguments.arms,
        out,
        plan,
        lambda arm, folder: run_training(arguments, arm, folder),
        lambda folder: score_encoder(folder, arguments.cache),
        lambda scores: ", ".join(f"{COLUMNS[name][0]} {_cell(scores[name], name)}" for name in COLUMNS),
    )
    if results is None:
        return 130
    save_report(table, {"plan": plan, "arms": results}, table_of(plan, results))
    return 0


def run_training(arguments: argparse.Namespace, arm: str, folder: Path) -> None:
    """Train one arm by the preset lite-256, or go on with it."""
    own = {"preset": "lite-256", "stage": "codes", "warm": min(200, max(1, arguments.steps // 10))}
    train_arm(arm, arguments, folder, arguments.steps, own, flags_of(arm, arguments.hrnet))


def flags_of(arm: str, hrnet: str) -> list[str]:
    """Flags of train_motion_space that make the arm."""
    return [hrnet if text == HRNET else text for text in ARMS[arm][1]]


def table_of(plan: dict, arms: dict) -> str:
    """The Markdown page: the arms, then what each stage alone knows."""
    names = {arm: ARMS[arm][0].replace(HRNET, plan["hrnet"]) for arm in arms}
    lines = [
        "# Image encoders compared",
        "",
        "Made by `python -m scripts.compare_encoders`; do not edit. Stage `codes` of `lite-256`, every arm",
        f"{plan['steps']} steps of {plan['batch']} pairs from the same seed; scores on `val`: unseen people.",
        "Brackets: 95% bootstrap interval over clips. Landmarks driven: the first frame's landmarks moved by the codes",
        "of later frames, against the true ones (no picture is drawn). R²: ridge regression from the code, fitted on",
        "other people. What differs by less than its interval says nothing.",
        "",
        "| encoder | " + " | ".join(heading + (" ↑" if up else " ↓") for heading, _, up in COLUMNS.values()) + " |",
        "| --- |" + " --- |" * len(COLUMNS),
    ]
    for arm, stored in arms.items():
        lines.append(f"| {names[arm]} | " + " | ".join(_cell(stored["scores"][n], n) for n in COLUMNS) + " |")
    lines += ["", "What each stage alone knows (the same regression from the stage's code), and its weight in HAL:", ""]
    lines += ["| encoder | stride | weight | pose, R² | lip opening, R² | eye opening, R² |", "| --- |" + " --- |" * 5]
    for arm, stored in arms.items():
        for stage in stored["scores"]["stages"]:
            cells = [_cell(stage[name], name) for name in ("pose", "lips", "eyes")]
            lines.append(f"| {names[arm]} | {stage['stride']} | {stage['weight']:.3f} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *verdict(arms)]) + "\n"


def verdict(arms: dict) -> list[str]:
    """What the table says of HAL and of high-resolution streams, in sentences: paired differences clip by clip."""
    from scripts.evaluation.metrics import interval

    asked = [
        ("HAL against the last stage, lia", "lia", "lia-last"),
        ("HAL over HRNet's pyramid against its finest map", "hrnet-v2p", "hrnet-v1"),
        ("HAL over HRNet's pyramid against all in one map", "hrnet-v2p", "hrnet-v2"),
        ("HRNet's branches against lia, both with HAL", "hrnet-branches", "lia"),
        ("ResNet against lia, both with HAL", "resnet", "lia"),
    ]
    lines = [
        "What it says (difference of the driven landmarks, % of the face height; below zero: the first is better):",
        "",
    ]
    for words, one, other in asked:
        if one in arms and other in arms:
            pairs = zip(*(arms[arm]["scores"]["landmark"]["clips"] for arm in (one, other)), strict=True)
            off = [a - b for a, b in pairs]
            low, high = interval(off)
            clear = "a difference" if low > 0 or high < 0 else "no difference that these clips can show"
            lines.append(f"* {words}: {sum(off) / len(off):+.2f} [{low:+.2f}, {high:+.2f}], {clear}.")
    return lines


def _cell(score: dict | float, name: str) -> str:
    return cell(score, COLUMNS[name][1])


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--out", default="runs/encoders", help="folder of the arms")
    parser.add_argument("--table", default="docs/encoders.md")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--hrnet", choices=HRNETS, default=HRNETS[0], help="the HRNet of all its arms")
    parser.add_argument("--steps", type=int, default=STEPS, help="of every arm")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
