"""How fast, and how near to what the machine can do: one command, one table, JSON too.

    python -m scripts.benchmark [--quick] [--reference DIR] [--json FILE] [--memory] [--whole SECONDS]

Every stage is timed by the clock and in processor time, which says more where other programs run too. The reference (a
checkout of X-LANCE/AniTalker, with espnet on PYTHONPATH for its motion) takes turns with ours in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anitalker.config import CROP, FPS, ORIGINAL_STEPS, InputError
from anitalker.runtime.device import choose_device
from scripts.benchmarks import machine, ours, whole
from scripts.benchmarks.reference import STEPS, Reference

FORMATS = ("float32", "bfloat16")
ON_CARDS = 512  # frames, several batches: CUDA graphs are recorded in the second


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, frames and lengths")
    parser.add_argument("--models", nargs="+", choices=("lite", "original"), default=("lite", "original"))
    parser.add_argument("--lengths", nargs="+", type=float, help="seconds of speech for motion (default: 4 36 300)")
    parser.add_argument("--reference", metavar="DIR", help="a checkout of X-LANCE/AniTalker")
    parser.add_argument(
        "--whole", type=float, default=0, metavar="SECONDS", help="also whole jobs of the published size, in turn"
    )
    parser.add_argument("--memory", action="store_true", help="whole jobs of 30 s and 600 s: peak memory (minutes)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to torch")
    parser.add_argument("--json", metavar="FILE", help="all numbers")
    options = parser.parse_args(arguments)
    options.lengths = options.lengths or ([4, 36] if options.quick else [4, 36, 300])
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        found = measure(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(found))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    return 0


def measure(options: argparse.Namespace) -> dict:
    """Everything that was asked for."""
    device = choose_device(options.device)
    found = {"machine": machine.facts(), "peaks": machine.peaks(device), "rows": [], "ratios": {}}
    with tempfile.TemporaryDirectory() as folder:
        if "lite" in options.models:
            measure_lite(options, device, found, Path(folder))
        if "original" in options.models:
            measure_original(options, device, found)
        if options.whole:
            sound = ours.recording(options.whole, Path(folder))
            whole.compare(sound, options.whole, 1 if options.quick else 2, options.reference, found)
    found["machine"]["load_at_the_end"] = machine.facts()["load"]
    return found


def measure_lite(options: argparse.Namespace, device: torch.device, found: dict, folder: Path) -> None:
    """The shipped model: its stages, and whole jobs in processes of their own."""
    rounds, count = (2, 25) if options.quick else (5, 50)
    count = ON_CARDS if device.type == "cuda" else count
    model = timed(found, "lite", "load", "", 1, lambda: ours.Lite(device), "per model")
    timed(found, "lite", "encode", "", rounds, model.encode, "per portrait")
    moved = model.move(4)
    for seconds in options.lengths:
        timed(found, "lite", f"motion, {seconds:g} s", "", 1, lambda s=seconds: model.move(s), "per second", seconds)
    moved = moved[torch.arange(count) % len(moved)]
    for form in FORMATS:
        list(model.frames(moved[:3], form))
        one = flops(lambda form=form: list(model.frames(moved[:1], form)))
        timed(
            found, "lite", "frames", form, rounds, lambda f=form: list(model.frames(moved, f)), "per frame", count, one
        )
        without_graphs(found, "lite", form, rounds, model, moved, device)
        timed(found, "lite", "first frame", form, rounds, lambda f=form: next(model.frames(moved, f)), "")
    frames = list(model.frames(moved, "float32"))
    write = lambda: ours.write(frames, folder / "frames.mp4")  # noqa: E731
    timed(found, "lite", "encode video", "", rounds, write, "per frame", count)
    for seconds in (10.0, *([30.0, 600.0] if options.memory else [])):
        made = ours.whole(seconds, folder, str(device))
        row = {"model": "lite", "stage": f"whole job, {seconds:g} s", "format": "", "unit": "per second"}
        row |= {"seconds": made["whole_rtf"], "rendering": made["real_time_factor"], "peak_mb": made["peak_rss_mb"]}
        found["rows"].append(row | {"timings": made["timings"]})


def measure_original(options: argparse.Namespace, device: torch.device, found: dict) -> None:
    """The published size with made-up weights, and the public code in turn with it."""
    rounds, count = (3, 2) if options.quick else (5, 8)
    count = ON_CARDS if device.type == "cuda" else count
    model, theirs = timed(found, "original", "load", "", 1, lambda: ours.Original(device), "per model"), None
    if options.reference:
        theirs = Reference(options.reference)
    moved = ours.motion(count)
    model.encode()
    compare(found, "encode", "float32", rounds, model.encode, theirs and theirs.encode)
    made = {}
    for form in FORMATS:
        made[form] = list(model.frames(moved, form))
        one = flops(lambda form=form: list(model.frames(moved[:1], form)))
        work = lambda form=form: list(model.frames(moved, form))  # noqa: E731
        compare(found, "frames", form, rounds, work, theirs and (lambda: theirs.frames(moved)), count, one)
        without_graphs(found, "original", form, rounds, model, moved, device)
    exact = theirs.frames(moved) if theirs else made["float32"]
    found["psnr"] = {form: psnr(frames, exact) for form, frames in made.items()}
    able = theirs and theirs.stage_two is not None
    if theirs and not able:
        found["not_run"] = f"motion of the reference: {theirs.missing}"
    for seconds in options.lengths:
        # The reference attends to the whole clip: beyond 36 s it takes gigabytes.
        measure_motion(found, model, theirs if able and seconds <= 36 else None, seconds, 4 if options.quick else 10)


def measure_motion(found: dict, model, theirs, seconds: float, steps: int, rounds: int = 2) -> None:
    """Motion of the original, ours in its usual steps and in the reference's number of them, by turns with the
    reference. Time is linear in steps, so of the reference's only `steps` are made, and counted as their share."""
    name, frames, share = f"motion, {seconds:g} s", round(seconds * FPS), steps / STEPS
    works = {"usual": lambda: model.move(frames, ORIGINAL_STEPS), "equal": lambda: model.move(frames, steps)}
    if theirs:
        works["reference"] = lambda: theirs.move(frames, steps)
    times = {kind: machine.Times() for kind in works}
    for _ in range(rounds):
        for kind, work in works.items():
            times[kind].run(work)
    add(found, "original", f"{name}, {ORIGINAL_STEPS} steps", "", times["usual"], "per second", seconds)
    add(found, "original", f"{name}, {STEPS} steps", "", times["equal"], "per second", share * seconds)
    if theirs:
        add(found, "reference", f"{name}, {STEPS} steps", "float32", times["reference"], "per second", share * seconds)
        found["ratios"][f"{name}, {ORIGINAL_STEPS} steps for {STEPS}"] = machine.ratio(
            times["reference"], times["usual"], share
        )
        found["ratios"][f"{name}, step for step"] = machine.ratio(times["reference"], times["equal"])


def without_graphs(found, name, form, rounds, model, moved, device) -> None:
    """On a card one more row: frames without CUDA graphs."""
    if device.type == "cuda":
        work = lambda: list(model.frames(moved, form, graphs=False))  # noqa: E731
        timed(found, name, "frames without graphs", form, rounds, work, "per frame", len(moved))


def timed(found, model, stage, form, rounds, work: Callable, unit, units=1.0, gflop=0.0):
    """One row: median of `rounds` runs of `work` per unit; the last result."""
    times = machine.Times()
    for _ in range(rounds):
        result = times.run(work)
    add(found, model, stage, form, times, unit, units, gflop)
    return result


def compare(found, stage, form, rounds, mine: Callable, theirs: Callable | None, units=1.0, gflop=0.0) -> None:
    """Rows of ours and of the reference, taken in turn, and their ratio."""
    times = {"original": machine.Times(), "reference": machine.Times()}
    for _ in range(rounds):
        times["original"].run(mine)
        if theirs:
            times["reference"].run(theirs)
    unit = "per frame" if stage == "frames" else "per portrait"
    add(found, "original", stage, form, times["original"], unit, units, gflop)
    if theirs:
        add(found, "reference", stage, "float32", times["reference"], unit, units, gflop)
        found["ratios"][f"{stage} {form}".strip()] = machine.ratio(times["reference"], times["original"])


def add(found, model, stage, form, times: machine.Times, unit, units, gflop=0.0) -> None:
    row = {"model": model, "stage": stage, "format": form, "unit": unit, **times.facts(units)}
    if gflop:
        peak = max(found["peaks"][form].values())
        row |= {"gflop": gflop, "share_of_peak": gflop / row["seconds"] / peak}
    found["rows"].append(row)


flops = ours.flops


def psnr(frames: list[np.ndarray], exact: list[np.ndarray]) -> dict[str, float]:
    """dB of 8 bit frames against others: median and worst."""
    errors = [np.square(a.astype(float) - b).mean() for a, b in zip(frames, exact, strict=True)]
    values = 10 * np.log10(255**2 / np.maximum(errors, 1e-9))
    assert frames[0].shape == (CROP, CROP, 3)
    return {"median": float(np.median(values)), "worst": float(values.min())}


def table(found: dict) -> str:
    """Markdown."""
    lines = [", ".join(f"{key} {value}" for key, value in found["machine"].items())]
    lines += [
        f"peak {form}: " + ", ".join(f"{k} {v:.0f} GFLOP/s" for k, v in kinds.items())
        for form, kinds in found["peaks"].items()
    ]
    lines += [
        "",
        "| model | stage | format | clock, s | processor, s | | GFLOP | share of peak | peak MB |",
        "|" + " --- |" * 9,
    ]
    for row in found["rows"]:
        shares = [f"{row['gflop']:.1f}", f"{row['share_of_peak']:.0%}"] if "gflop" in row else ["", ""]
        memory = f"{row['peak_mb']:.0f}" if "peak_mb" in row else ""
        cpu = f"{row['cpu']:.4f}" if "cpu" in row else ""
        cells = [row["model"], row["stage"], row["format"], f"{row['seconds']:.4f}", cpu, row["unit"], *shares, memory]
        lines.append("| " + " | ".join(cells) + " |")
    if found["ratios"]:
        lines += ["", "| reference / ours | clock | processor |", "| --- | --- | --- |"]
    for name, both in found["ratios"].items():
        spread = [f"{v['median']:.1f} ({v['least']:.1f} to {v['most']:.1f})" for v in both.values()]
        lines.append(f"| {name} | " + " | ".join(spread) + " |")
    for form, values in found.get("psnr", {}).items():
        lines.append(f"\nframes in {form}: {values['median']:.1f} dB, worst {values['worst']:.1f}")
    return "\n".join([*lines, found.get("not_run", "")]).rstrip()


if __name__ == "__main__":
    sys.exit(main())
