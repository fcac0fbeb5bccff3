"""How fast, and how near to what the machine can do: one command, one table, JSON too.

    python -m scripts.benchmark [--quick] [--device cuda] [--reference DIR] [--json FILE] [--memory] [--whole SECONDS]

Every stage is timed by the clock and in processor time, which says more where other programs run too. The reference (a
checkout of X-LANCE/AniTalker, with espnet on PYTHONPATH for its motion) takes turns with ours in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from anitalker.config import FPS, ORIGINAL_STEPS, InputError
from anitalker.runtime.device import choose_device
from anitalker.runtime.machine import describe_machine
from scripts.benchmarks import ours, whole
from scripts.benchmarks.reference import STEPS, Reference
from scripts.benchmarks.report import DTYPES, Report, by_turns, peaks, ratio
from scripts.evaluation import metrics

ON_CARDS = 512  # frames, several batches
REFERENCE_SECONDS = 36  # the reference attends to the whole clip: beyond this it takes gigabytes


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        report = measure(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.table())
    if options.json:
        Path(options.json).write_text(json.dumps(report.facts, indent=1))
    return 0


def measure(options: argparse.Namespace) -> Report:
    """Everything that was asked for."""
    device = choose_device(options.device)
    report = Report(describe_machine(device), peaks(device, side=256 if options.tiny else None))
    with tempfile.TemporaryDirectory() as folder:
        if "lite" in options.models:
            measure_lite(options, device, report, Path(folder))
        if "original" in options.models:
            measure_original(options, device, report)
        if options.whole:
            speech = ours.recording(options.whole, Path(folder))
            whole.compare(speech, options.whole, 1 if options.quick else 2, options.reference, report)
    report.facts["machine"]["load_at_the_end"] = describe_machine(device)["load"]
    return report


def frames_to_time(
    options: argparse.Namespace, device: torch.device, quick: tuple[int, int], usual: tuple[int, int]
) -> tuple[int, int]:
    """Rounds, and frames in each."""
    if options.tiny:
        return 1, 2
    rounds, count = quick if options.quick else usual
    return rounds, ON_CARDS if device.type == "cuda" else count


def measure_lite(options: argparse.Namespace, device: torch.device, report: Report, folder: Path) -> None:
    """The shipped model: its stages, and whole jobs in processes of their own."""
    rounds, count = frames_to_time(options, device, (2, 25), (5, 50))
    model = report.time("lite", "load", "", 1, lambda: ours.Lite(device), "per model")
    report.time("lite", "encode", "", rounds, model.encode, "per portrait")
    motion = model.move(4)
    for seconds in options.lengths:
        report.time("lite", f"motion, {seconds:g} s", "", 1, lambda s=seconds: model.move(s), "per second", seconds)
    motion = motion[torch.arange(count) % len(motion)]
    frames = {}
    for form in DTYPES:
        list(model.frames(motion[:3], form))  # warms up
        gflop = model.gflop(motion, form)
        work = lambda form=form: list(model.frames(motion, form))  # noqa: E731
        frames[form] = report.time("lite", "frames", form, rounds, work, "per frame", count, gflop)
        report.time("lite", "first frame", form, rounds, lambda f=form: next(model.frames(motion, f)), "")
    work = lambda: ours.write(frames["float32"], folder / "frames.mp4")  # noqa: E731
    try:
        report.time("lite", "encode video", "", rounds, work, "per frame", count)
    except ModuleNotFoundError as error:
        report.facts["not_run"] = f"videos: the package {error.name} is missing"
        return
    for seconds in (1.0 if options.tiny else 10.0, *([30.0, 600.0] if options.memory else [])):
        job = ours.render_job(seconds, folder, str(device))
        row = {"model": "lite", "stage": f"whole job, {seconds:g} s", "format": "", "unit": "per second"}
        row |= {"seconds": job["whole_rtf"], "rendering": job["real_time_factor"], "peak_mb": job["peak_rss_mb"]}
        report.rows.append(row | {"timings": job["timings"]})


def measure_original(options: argparse.Namespace, device: torch.device, report: Report) -> None:
    """The published size with made-up weights, and the public code in turn with it."""
    rounds, count = frames_to_time(options, device, (3, 2), (5, 8))
    model = report.time("original", "load", "", 1, lambda: ours.Original(device), "per model")
    reference = Reference(options.reference) if options.reference else None
    motion = ours.motion(count)
    model.encode()
    encodes = {"original": model.encode} | ({"reference": reference.encode} if reference else {})
    report.compare("encode", "float32", rounds, encodes, "per portrait")
    drawn = {}
    for form in DTYPES:
        drawn[form] = list(model.frames(motion, form))
        gflop = model.gflop(motion, form)
        works = {"original": lambda form=form: list(model.frames(motion, form))}
        works |= {"reference": lambda: reference.frames(motion)} if reference else {}
        report.compare("frames", form, rounds, works, "per frame", count, gflop)
    exact = reference.frames(motion) if reference else drawn["float32"]
    report.facts["psnr"] = {form: psnr(frames, exact) for form, frames in drawn.items()}
    if reference and reference.stage_two is None:
        report.facts["not_run"] = f"motion of the reference: {reference.missing}"
        reference = None
    for seconds in options.lengths:
        other = reference if seconds <= REFERENCE_SECONDS else None
        steps, rounds = (2, 1) if options.tiny else (4 if options.quick else 10, 2)
        measure_motion(report, model, other, seconds, steps, rounds)


def measure_motion(report: Report, model, reference, seconds: float, steps: int, rounds: int = 2) -> None:
    """Motion of the original, ours in its usual steps and in the reference's number of them, by turns with the
    reference. Time is linear in steps, so of the reference's only `steps` are made, and counted as their share."""
    name, frames, share = f"motion, {seconds:g} s", round(seconds * FPS), steps / STEPS
    works = {"usual": lambda: model.move(frames, ORIGINAL_STEPS), "equal": lambda: model.move(frames, steps)}
    if reference:
        works["reference"] = lambda: reference.move(frames, steps)
    times, _ = by_turns(works, rounds)
    usual, equal, long = f"{name}, {ORIGINAL_STEPS} steps", f"{name}, {STEPS} steps", share * seconds
    report.add("original", usual, "", times["usual"], "per second", seconds)
    report.add("original", equal, "", times["equal"], "per second", long)
    if reference:
        report.add("reference", equal, "float32", times["reference"], "per second", long)
        report.ratios[f"{usual} for {STEPS}"] = ratio(times["reference"], times["usual"], share)
        report.ratios[f"{name}, step for step"] = ratio(times["reference"], times["equal"])


def psnr(frames: list[np.ndarray], exact: list[np.ndarray]) -> dict[str, float]:
    """dB of 8 bit frames against others: median and worst."""
    values = [metrics.psnr(metrics.squared_error(a, b).mean()) for a, b in zip(frames, exact, strict=True)]
    return {"median": float(np.median(values)), "worst": min(values)}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, frames and lengths")
    parser.add_argument("--tiny", action="store_true", help="a frame or two of everything: does it run?")
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
    options.lengths = options.lengths or ([1] if options.tiny else [4, 36] if options.quick else [4, 36, 300])
    return options


if __name__ == "__main__":
    sys.exit(main())
