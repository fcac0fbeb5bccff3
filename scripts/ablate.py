"""Equal short trainings beside each other: the same data, steps and seed, the same scores, one table.

    python -m scripts.ablate --data DIR                   the paper's ablation; two hours on a CPU, ten minutes on a GPU
    python -m scripts.ablate --data DIR --steps 50        a rehearsal
    python -m scripts.ablate --data DIR --arms all no-flow adversarial autoencode     what the losses do
    python -m scripts.ablate --data DIR --study decoders  widths, resolutions, flows; an hour and a half on a core
    python -m scripts.ablate --data DIR --study encoders  lia, HRNet, ResNet, with and without HAL; hours on a CPU

Kill it whenever you like: the same command continues, arm by arm. The table goes to docs/ablation.md, docs/decoders.md
or docs/encoders.md, the numbers into a .json beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from safetensors import safe_open

from anitalker.config import InputError
from anitalker.runtime.device import choose_device
from encoders.image import HRNETS
from scripts import train_motion_space
from scripts.ablations import decoders, encoders, stage_one
from scripts.ablations.study import Study, page

STUDIES = {"stage-one": stage_one.STUDY, "decoders": decoders.STUDY, "encoders": encoders.STUDY}
MINUTES = {"cpu": 110.0, "cuda": 9.0, "mps": 30.0}  # for all arms, scoring included
TRAINING = 0.85  # share of them that is training
CALIBRATION = 30  # steps that are timed to make minutes into steps


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        return ablate(STUDIES[options.study], options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def ablate(study: Study, options: argparse.Namespace) -> int:
    """Train and score what is not done yet, then write table and numbers; the exit status."""
    options.device = choose_device(options.device).type
    out, table = Path(options.out), Path(options.table)
    out.mkdir(parents=True, exist_ok=True)
    plan, arms = plan_of(study, options, out), {}
    for arm in options.arms:
        stored = train_and_score(study, options, arm, out / arm, plan)
        if stored is None:
            return 130
        arms[arm] = stored
        print(f"{arm} is scored after {stored['minutes']} minutes", flush=True)
    report = {"plan": plan, "arms": arms, **study.baselines(options)}
    table.parent.mkdir(parents=True, exist_ok=True)
    table.with_suffix(".json").write_text(json.dumps(report, indent=1))
    table.write_text(page(study, f"python -m scripts.ablate --study {options.study}", report), encoding="utf-8")
    print(f"{table} and {table.with_suffix('.json').name} written")
    return 0


def plan_of(study: Study, options: argparse.Namespace, out: Path) -> dict:
    """Steps and what else all arms share; decided once, then kept in the folder."""
    file = out / "plan.json"
    fixed = {name: getattr(options, name) for name in study.plan}
    if file.is_file():
        plan = json.loads(file.read_text())
        if plan != {**fixed, "steps": options.steps or plan["steps"]}:
            raise InputError(f"{out} holds an ablation of other settings ({plan}); give another --out")
        return plan
    steps = options.steps or (None if options.minutes else study.steps)
    plan = {"steps": steps or steps_in_time(study, options, out / "calibration"), **fixed}
    file.write_text(json.dumps(plan))
    return plan


def steps_in_time(study: Study, options: argparse.Namespace, trial: Path) -> int:
    """Steps of every arm so that all of them take the minutes, from the pace of the study's first arm."""
    for _ in range(2):  # data and kernels are warm in the second
        started = time.monotonic()
        run_training(study, options, next(iter(study.arms)), trial, CALIBRATION)
        seconds = (time.monotonic() - started) / CALIBRATION
        shutil.rmtree(trial)
    minutes = options.minutes or MINUTES[options.device]
    return max(1, int(TRAINING * 60 * minutes / len(options.arms) / seconds))


def train_and_score(study: Study, options: argparse.Namespace, arm: str, folder: Path, plan: dict) -> dict | None:
    """Plan, scores and minutes of an arm, as its folder has them or made now; None if the training was told to stop."""
    file = folder / "scores.json"
    if file.is_file() and (stored := json.loads(file.read_text()))["plan"] == plan:
        return stored
    started = time.monotonic()
    run_training(study, options, arm, folder, plan["steps"])
    if (done := steps_of(folder)) < plan["steps"]:
        print(f"stopped in arm {arm} at step {done} of {plan['steps']}; the same command goes on", flush=True)
        return None
    scores = study.score(folder, options)
    stored = {"plan": plan, "scores": scores, "minutes": round((time.monotonic() - started) / 60, 1)}
    file.write_text(json.dumps(stored))
    return stored


def run_training(study: Study, options: argparse.Namespace, arm: str, folder: Path, steps: int) -> None:
    """Train one arm through scripts.train_motion_space, or go on with it; InputError if that cannot be."""
    shared = {name: getattr(options, name) for name in ("data", "cache", "batch", "seed", "device", "threads")}
    flags = {**shared, "out": folder, "steps": steps, "score": steps + 1, **study.settings(options, steps)}
    command = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    command += [options.hrnet if text == encoders.HRNET else text for text in study.arms[arm][1]]
    if train_motion_space.main(command):
        raise InputError(f"arm {arm} could not be trained; see above")


def steps_of(folder: Path) -> int:
    """Steps that a run folder's weights have seen: fewer than asked where the training was told to stop."""
    with safe_open(folder / "weights.safetensors", "pt") as file:
        return int(file.metadata()["step"])


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=tuple(STUDIES), default="stage-one")
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("--out", help="folder of the arms (default: runs/ablation, runs/decoders or runs/encoders)")
    parser.add_argument("--table", help="default: docs/ablation.md, docs/decoders.md or docs/encoders.md")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="default: those of the study's table")
    parser.add_argument("--minutes", type=float, help="for all arms; of the paper's ablation 110 on a CPU, 9 on a GPU")
    parser.add_argument("--steps", type=int, help="of every arm, instead of minutes")
    parser.add_argument("--size", type=int, default=stage_one.RECIPE.size, help="stage one: pixels, 32, 64 or 128")
    parser.add_argument("--features", help="decoders: network of the perceptual loss and distance; default: in --data")
    parser.add_argument("--hrnet", choices=HRNETS, default=HRNETS[0], help="encoders: the HRNet of all its arms")
    parser.add_argument("--batch", type=int, help="default: 16 pairs for stage one, else 8")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    study = STUDIES[options.study]
    options.out, options.table = options.out or f"runs/{study.file}", options.table or f"docs/{study.file}.md"
    options.arms, options.batch = options.arms or list(study.usual or study.arms), options.batch or study.batch
    if unknown := [arm for arm in options.arms if arm not in study.arms]:
        parser.error(f"argument --arms: {unknown[0]!r} is no arm of {options.study}; it has {', '.join(study.arms)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
