"""anitalker bench: what this machine does."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from anitalker.commands import options

if TYPE_CHECKING:
    from anitalker.benchmark import BenchFacts

HELP = "what this machine does: frames per second, real-time factor, memory"
DEFAULT_SECONDS = 60.0  # a bound that is seldom reached: the measurement takes half of it on two cores


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--seconds",
        type=float,
        default=DEFAULT_SECONDS,
        metavar="N",
        help="measure for at most about N seconds, 5 to 600; a slow machine draws fewer frames (default: %(default)g)",
    )
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> BenchFacts:
    """Load the model and measure; returns the facts for --json."""
    start = time.perf_counter()
    from anitalker import benchmark
    from anitalker.pipeline import load

    seconds = benchmark.check_seconds(arguments.seconds)
    talker = load(**options.to_load_arguments(arguments))
    with options.ProgressBar() as progress:
        return benchmark.measure(talker, seconds, time.perf_counter() - start, progress)


def print_summary(facts: BenchFacts) -> None:
    """Print a table for people, two columns."""
    print("\n".join(f"{name:<16}{value}" for name, value in table_rows(facts)))


def table_rows(facts: BenchFacts) -> list[tuple[str, str]]:
    """The facts as rows of a name and a text."""
    machine, job, not_measured = facts["machine"], facts["job"], "not measured: no time was left"
    busy = "" if machine["load"] is None else f", load {machine['load']:.1f} before"
    rows = [
        ("anitalker", f"{facts['version']}, model {facts['model']}, {facts['number_format']}"),
        ("device", f"{machine['device']}: {machine['device_name']}"),
        ("processor", f"{machine['processor']}, {machine['instructions']}, {machine['system']}"),
        ("cores", f"{machine['usable_cores']} of {machine['cores']}, torch takes {machine['threads']}{busy}"),
        ("versions", f"torch {machine['torch']}, Python {machine['python']}"),
        ("load", f"{facts['load_seconds']:.2f} s"),
        ("first frame", f"{facts['first_frame_seconds']:.2f} s after it"),
    ]
    for drawn in facts["drawing"]:
        rate, cores = drawn["frames_per_second"], drawn["cores_used"]
        told = not_measured
        if rate is not None and cores is not None:
            told = f"{rate:7.1f} frames/s  {cores:4.1f} cores used  {drawn['frames']:5d} frames drawn"
        rows.append((f"{drawn['size']} pixels", told))
    told = not_measured
    if job:
        told = f"{job['speech_seconds']:g} s of speech at {job['width']}x{job['height']}, real-time factor "
        told += f"{job['real_time_factor']:.2f}"
    rows.append(("whole job", told))
    if facts["peak_rss_mb"] is not None:
        rows.append(("peak memory", f"{facts['peak_rss_mb']:.0f} MB"))
    if facts["peak_gpu_mb"] is not None:
        rows.append(("on the card", f"{facts['peak_gpu_mb']:.0f} MB"))
    return [*rows, ("measured in", f"{facts['seconds']:.0f} s")]
