"""The paper's ablation by one command: stage one of the original's architecture with and without HAL, metric learning
and mutual information, AAM-softmax against triplet; and by --arms what its losses do: the flow that landmarks show, a
discriminator, the autoencoder alone. Equal short trainings, the same data, the same scores, one table.

    python -m scripts.ablate --data DIR                    two hours on a CPU, ten minutes on a GPU
    python -m scripts.ablate --data DIR --steps 50         a rehearsal
    python -m scripts.ablate --data DIR --arms all no-flow adversarial autoencode      the losses

Kill it whenever you like: the same command continues, arm by arm. The table goes to docs/ablation.md, the numbers to
docs/ablation.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from anitalker.config import InputError
from scripts.training.arms import cell, save_report, score_arms, train_arm
from scripts.training.presets import PRESETS

ARMS = {
    "all": "HAL, AAM-softmax, mutual information",
    "no-hal": "last stage instead of HAL",
    "no-metric": "without metric learning",
    "no-mutual": "without mutual information",
    "neither": "without both",
    "triplet": "triplet instead of AAM-softmax",
    "no-flow": "without landmark-flow supervision",
    "adversarial": "with a discriminator",
    "autoencode": "autoencoding alone: L1, no other term",
}
OF_THE_PAPER = ("all", "no-hal", "no-metric", "no-mutual", "triplet")
# What is told of an arm: key -> (heading, digits, whether more is better)
COLUMNS = {
    "psnr": ("PSNR, dB", 2, True),
    "psnr_face": ("PSNR face, dB", 2, True),
    "pose": ("pose read, R2", 3, True),
    "expression": ("expression read, R2", 3, True),
    "leak": ("motion code tells who, %", 1, False),
    "eer": ("equal-error rate of identity, %", 1, False),
}
MINUTES = {"cpu": 110.0, "cuda": 9.0, "mps": 30.0}  # for all arms, scoring included
TRAINING = 0.85  # share of them that is training
CALIBRATION = 30  # steps that are timed to make minutes into steps


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        return ablate(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def ablate(arguments: argparse.Namespace) -> int:
    """Train and score what is not done yet, then write table and numbers; the exit status."""
    from anitalker.runtime.device import choose_device
    from scripts.evaluation.ablation import score_arm, score_labels

    device = choose_device(arguments.device)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    plan = plan_of(arguments, device.type, out)
    results = score_arms(
        arguments.arms,
        out,
        plan,
        lambda arm, folder: run_training(arguments, arm, folder, plan["steps"]),
        lambda folder: score_arm(folder, arguments.cache, device),
        line_of,
    )
    if results is None:
        return 130
    labels = score_labels(arguments.cache, plan["size"])
    report = {"plan": plan, "arms": results, "labels": labels}
    save_report(Path(arguments.table), report, table_of(report))
    return 0


def plan_of(arguments: argparse.Namespace, device: str, out: Path) -> dict:
    """Steps, size and the rest that all arms share; measured once, then kept in the folder."""
    file = out / "plan.json"
    fixed = {"size": arguments.size, "batch": arguments.batch, "seed": arguments.seed, "device": device}
    if file.is_file():
        plan = json.loads(file.read_text())
        if {name: plan[name] for name in fixed} != fixed or arguments.steps not in (None, plan["steps"]):
            raise InputError(f"{out} holds an ablation of other settings ({plan}); give another --out")
        return plan
    steps = arguments.steps
    if steps is None:
        minutes = arguments.minutes or MINUTES[device]
        trial = out / "calibration"
        run_training(arguments, "all", trial, CALIBRATION)  # data and kernels are warm after it
        shutil.rmtree(trial)
        started = time.monotonic()
        run_training(arguments, "all", trial, CALIBRATION)
        each = (time.monotonic() - started) / CALIBRATION
        shutil.rmtree(trial)
        steps = max(1, int(TRAINING * 60 * minutes / len(arguments.arms) / each))
    plan = {"steps": steps, **fixed}
    file.write_text(json.dumps(plan))
    return plan


def run_training(arguments: argparse.Namespace, arm: str, folder: Path, steps: int) -> None:
    """Train one arm, or go on with it."""
    own = {
        "preset": f"ablation-{arm}",
        "warm": min(200, max(1, steps // 10)),
        "half-life": max(1, steps // 3),
        "adversarial-after": steps // 3,  # of the one arm that has a discriminator
        "size": arguments.size,
        "features": "none",
    }
    train_arm(arm, arguments, folder, steps, own)


def line_of(scores: dict) -> str:
    return ", ".join(f"{COLUMNS[name][0]} {scores[name]['mean']:.{COLUMNS[name][1]}f}" for name in COLUMNS)


def table_of(report: dict) -> str:
    """The Markdown page."""
    plan, arms = report["plan"], report["arms"]
    lines = [
        "# Ablation of stage one",
        "",
        "Made by `python -m scripts.ablate`; do not edit. The original's architecture (pyramid encoder with HAL,",
        f"flow-warping decoder) at {plan['size']} x {plan['size']} pixels and an eighth of its width, every arm",
        f"{plan['steps']} steps of {plan['batch']} pairs on {plan['device']} from the same seed; scores on `val`,",
        "people unseen in training. Brackets: 95% bootstrap interval over clips (over people in the last two columns).",
        "Short trainings of a small network: what differs by less than its interval says nothing, and what a long",
        "training would say is not known.",
        "",
        "| arm | " + " | ".join(heading + (" ↑" if up else " ↓") for heading, _, up in COLUMNS.values()) + " |",
        "| --- |" + " --- |" * len(COLUMNS),
    ]
    for arm, stored in arms.items():
        lines.append(f"| {ARMS[arm]} | " + " | ".join(_cell(stored["scores"][n], n) for n in COLUMNS) + " |")
    first = next(iter(arms.values()))["scores"]
    references = {
        "copying the first frame": {"psnr": first["copy"], "psnr_face": first["copy_face"]},
        "the label codes themselves": report["labels"],
    }
    for name, known in references.items():
        lines.append(f"| {name} | " + " | ".join(_cell(known.get(n), n) for n in COLUMNS) + " |")
    lines += ["", *differences(arms), "", *EXPLAINED]
    minutes = sum(stored["minutes"] for stored in arms.values())
    lines += ["", f"All arms together took {minutes:.0f} minutes, training and scoring."]
    return "\n".join(lines) + "\n"


EXPLAINED = (
    "* PSNR: first frame of a clip driven to later ones by their own motion codes.",
    "* Read: ridge regression from the 20 motion numbers to the label codes of pose and expression, fitted on training",
    "  clips.",
    "* Tells who: a linear probe from the motion code to the person, early frames of a clip against late ones. The row",
    "  of the label codes shows what pose and expression give away by themselves: people hold their heads, cameras",
    "  stand still.",
    "* Equal-error rate: same person or not by the cosine of the arm's own identity feature, every frame under another",
    "  light, place and size. Where both terms are left out nothing trains this feature.",
)


def differences(arms: dict) -> list[str]:
    """Each arm minus the first, clip by clip, with intervals."""
    from scripts.evaluation.metrics import interval

    names = list(arms)
    if len(names) < 2:
        return []
    paired = [name for name in COLUMNS if "clips" in arms[names[0]]["scores"][name]]
    lines = [
        f"Differences to the first row, clip by clip ({', '.join(COLUMNS[name][0] for name in paired)}):",
        "",
        "| arm | " + " | ".join(COLUMNS[name][0] for name in paired) + " |",
        "| --- |" + " --- |" * len(paired),
    ]
    for arm in names[1:]:
        cells = []
        for name in paired:
            pairs = zip(arms[arm]["scores"][name]["clips"], arms[names[0]]["scores"][name]["clips"], strict=True)
            off = [mine - first for mine, first in pairs]
            low, high = interval(off)
            cells.append(
                f"{sum(off) / len(off):+.2f} [{low:+.2f}, {high:+.2f}]" + (" *" if low > 0 or high < 0 else "")
            )
        lines.append(f"| {ARMS[arm]} | " + " | ".join(cells) + " |")
    return [*lines, "", "* the interval leaves out zero."]


def _cell(score: dict | None, name: str) -> str:
    return cell(score or None, COLUMNS[name][1])


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--out", default="runs/ablation", help="folder of the arms")
    parser.add_argument("--table", default="docs/ablation.md")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(OF_THE_PAPER))
    parser.add_argument("--minutes", type=float, help="for all arms; 110 on a CPU, 9 on a GPU")
    parser.add_argument("--steps", type=int, help="of every arm, instead of minutes")
    parser.add_argument("--size", type=int, default=PRESETS["ablation-all"][0].size, help="pixels: 32, 64 or 128")
    parser.add_argument("--batch", type=int, default=PRESETS["ablation-all"][0].batch)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
