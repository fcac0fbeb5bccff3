"""Equal trainings beside each other: arms that can be stopped and continued, their report and its cells."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from anitalker.config import InputError


def score_arms(
    arms: list[str],
    out: Path,
    plan: dict,
    train: Callable[[str, Path], None],
    score: Callable[[Path], dict],
    line: Callable[[dict], str],
) -> dict | None:
    """Train and score what is not done yet, arm by arm, each in its folder -> {arm: plan, scores, minutes}; None when a
    training was told to stop."""
    results = {}
    for arm in arms:
        folder, file = out / arm, out / arm / "scores.json"
        if not file.is_file() or (stored := json.loads(file.read_text()))["plan"] != plan:
            started = time.monotonic()
            train(arm, folder)
            if (done := steps_of(folder)) < plan["steps"]:
                print(f"stopped in arm {arm} at step {done} of {plan['steps']}; the same command goes on", flush=True)
                return None
            scores = score(folder)
            stored = {"plan": plan, "scores": scores, "minutes": round((time.monotonic() - started) / 60, 1)}
            file.write_text(json.dumps(stored))
        results[arm] = stored
        print(f"{arm}: {line(stored['scores'])}", flush=True)
    return results


def steps_of(folder: Path) -> int:
    """Steps that a run folder's weights have seen; a training that was told to stop has done fewer than asked."""
    from safetensors import safe_open

    with safe_open(folder / "weights.safetensors", "pt") as file:
        return int(file.metadata()["step"])


def train_arm(
    arm: str, arguments: argparse.Namespace, folder: Path, steps: int, own: dict, more: Sequence[str] = ()
) -> None:
    """Train one arm through scripts.train_motion_space, or go on with it; InputError if that cannot be.

    arguments: of a command that has what all arms share; own: flags of this comparison; more: of the arm itself.
    """
    from scripts import train_motion_space

    shared = {name: getattr(arguments, name) for name in ("data", "cache", "batch", "seed", "device", "threads")}
    flags = {**shared, "out": folder, "steps": steps, "score": steps + 1, **own}
    given = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    if train_motion_space.main([*given, *more]):
        raise InputError(f"arm {arm} could not be trained; see above")


def save_report(table: Path, report: dict, text: str) -> None:
    """The Markdown page `table`, and the numbers beside it as JSON."""
    table.parent.mkdir(parents=True, exist_ok=True)
    table.with_suffix(".json").write_text(json.dumps(report, indent=1))
    table.write_text(text, encoding="utf-8")
    print(f"{table} and {table.with_suffix('.json').name} written")


def cell(score: dict | float | None, digits: int) -> str:
    """A number, or a mean with its interval; empty for what was not measured."""
    if score is None:
        return ""
    if not isinstance(score, dict):
        return f"{score:.{digits}f}"
    low, high = score["interval"]
    return f"{score['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
