"""anitalker batch: a table of jobs, many videos; can be killed and started again."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from anitalker.commands import options
from anitalker.config import InputError
from anitalker.runtime.cores import count_cores

if TYPE_CHECKING:
    from tqdm import tqdm

    from anitalker.batch.runner import Engine
    from anitalker.batch.table import InvalidRow, Job

HELP = "many videos from a table of jobs; can be stopped and continued"
MAX_PRINTED_LINES = 20  # of failures, and of invalid lines of the table
PRINT_SECONDS = 5  # between two lines of progress where there is no terminal
EXIT_NOT_ALL_DONE = 3  # exit status: the batch ran, but not every job succeeded


class Failure(TypedDict):
    """A job that failed, or a line of the table (counted from 1) that is no job."""

    id: str
    line: int
    status: str  # failed or refused
    error: str


class BatchFacts(TypedDict):
    """What `--json` prints.

    output: the folder; jobs: lines of the table; done, failed: jobs that ran now; skipped: jobs that were done before;
    refused: invalid lines; to_do: jobs that a dry run would do; exit_status: 0, or EXIT_NOT_ALL_DONE.
    """

    output: str
    jobs: int
    done: int
    skipped: int
    failed: int
    refused: int
    to_do: int
    dry_run: bool
    seconds: float
    failures: list[Failure]
    exit_status: int


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "table",
        metavar="JOBS.csv|JOBS.jsonl",
        help="columns: id, portrait, speech, text or video, format, options; without portrait a line dubs its video: "
        "speech, text or segments, and fit, from, to, original_sound",
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the videos and results.jsonl")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="default: %(default)s")
    parser.add_argument("--ray-address", metavar="ADDRESS", help="a running Ray cluster (auto: this machine's)")
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per GPU, or per core as memory allows")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="of one job (default: 3600)")
    parser.add_argument(
        "--retries", type=int, default=2, help="of a job after a transient failure (default: %(default)s)"
    )
    parser.add_argument("--keep-going", action="store_true", help="render the good lines of a table with bad ones")
    parser.add_argument("--dry-run", action="store_true", help="check every line, say what would be done, do nothing")
    options.add_timestamp_option(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> BatchFacts:
    """Check the table and run the jobs that are not done yet; returns the facts for --json."""
    from anitalker.batch import runner, table
    from anitalker.models import loading

    _check(arguments)
    jobs, invalid = table.read(arguments.table)
    _print_invalid(invalid)
    if invalid and not (arguments.keep_going or arguments.dry_run):
        count = f"{len(invalid)} of {len(jobs) + len(invalid)} lines"
        raise InputError(f"{count} are no jobs, nothing was rendered; correct them, or give --keep-going")
    if arguments.engine == "ray":
        from anitalker.batch import ray  # noqa: F401 (says early what is missing)
    load_arguments = options.to_load_arguments(arguments)
    name, stage1, stage2, hubert = (load_arguments[key] for key in ("name", "stage1", "stage2", "hubert"))
    model = loading.fingerprint(name, stage1, stage2) + (hubert or "")
    if arguments.dry_run:
        folder = Path(arguments.output)
        pending = runner.plan(jobs, model, folder, runner.Results.read_only(folder))[1]
        return _facts(arguments, jobs, pending, invalid, [], 0.0)
    folder = runner.check_folder(arguments.output)
    results = runner.Results(folder)
    start = time.monotonic()
    records: list[dict] = []
    pending: list[Job] = []
    try:
        results.clear_parts()
        fingerprints, pending = runner.plan(jobs, model, folder, results.last())
        records = list(runner.record_invalid(invalid, results))
        if pending:
            engine = _make_engine(arguments, load_arguments, folder, len(pending))
            with BatchProgress(len(pending)) as progress:

                def report(record: dict, ended: int, total: int) -> None:
                    records.append(record)
                    progress(record, ended, total)

                runner.run(pending, fingerprints, engine, results, arguments.retries, report)
    finally:
        results.close()
    return _facts(arguments, jobs, pending, invalid, records, time.monotonic() - start)


def _check(arguments: argparse.Namespace) -> None:
    for name, low in (("workers", 1), ("retries", 0), ("timeout", 1)):
        value = getattr(arguments, name)
        if value is not None and not low <= value <= 1e6:
            raise InputError(f"{name} is {value}; allowed is {low} to 1000000")
    if arguments.ray_address and arguments.engine != "ray":
        raise InputError(f"--ray-address came with --engine {arguments.engine}; it belongs to --engine ray")


def _make_engine(arguments: argparse.Namespace, load_arguments: dict, folder: Path, jobs: int) -> Engine:
    """Make the engine of --engine, which starts workers as jobs come."""
    from anitalker.batch import local, worker

    if arguments.engine == "ray":
        from anitalker.batch.ray import RayEngine

        setup = worker.WorkerSetup(load_arguments, str(folder.resolve()))
        return RayEngine(setup, arguments.ray_address, arguments.workers, jobs, arguments.timeout)
    workers = min(jobs, arguments.workers or local.default_workers(arguments.device))
    threads = max(1, count_cores() // workers)
    setup = worker.WorkerSetup(load_arguments, str(folder), threads, local.count_gpus(arguments.device))
    return local.LocalEngine(setup, workers, arguments.timeout)


def _print_invalid(rows: Sequence[InvalidRow]) -> None:
    """Print the first invalid lines of the table on stderr."""
    for row in rows[:MAX_PRINTED_LINES]:
        print(f"line {row.line}{f' ({row.id!r})' if row.id else ''}: {row.reason}", file=sys.stderr)
    if len(rows) > MAX_PRINTED_LINES:
        print(f"... and {len(rows) - MAX_PRINTED_LINES} more bad lines", file=sys.stderr)


def _facts(
    arguments: argparse.Namespace,
    jobs: Sequence[Job],
    pending: Sequence[Job],
    invalid: Sequence[InvalidRow],
    records: Sequence[dict],
    seconds: float,
) -> BatchFacts:
    statuses = [record["status"] for record in records]
    failures: list[Failure] = [
        {"id": record["id"], "line": record["line"], "status": record["status"], "error": record["error"]}
        for record in records
        if record["status"] != "done"
    ]
    return {
        "output": arguments.output,
        "jobs": len(jobs) + len(invalid),
        "done": statuses.count("done"),
        "skipped": len(jobs) - len(pending),
        "failed": statuses.count("failed"),
        "refused": len(invalid),
        "to_do": len(pending) if arguments.dry_run else 0,
        "dry_run": arguments.dry_run,
        "seconds": round(seconds, 3),
        "failures": failures,
        "exit_status": EXIT_NOT_ALL_DONE if failures or invalid else 0,
    }


def print_summary(facts: BatchFacts) -> None:
    """Print the first failures, then one line of counts."""
    if facts["dry_run"]:
        print(f"{facts['to_do']} jobs to do, {facts['skipped']} done before, {facts['refused']} bad lines")
        return
    shown = facts["failures"][:MAX_PRINTED_LINES]
    width = max([2, *(len(failure["id"]) for failure in shown)])
    for failure in shown:
        print(f"{failure['line']:>6}  {failure['id']:<{width}}  {failure['status']:<7}  {failure['error']}")
    if len(facts["failures"]) > MAX_PRINTED_LINES:
        print(f"... and {len(facts['failures']) - MAX_PRINTED_LINES} more; see {facts['output']}/results.jsonl")
    counts = [f"{facts['done']} done"]
    for status, count in (("skipped", facts["skipped"]), ("failed", facts["failed"]), ("refused", facts["refused"])):
        counts += [f"{count} {status}"] if count else []
    print(f"{facts['output']}: {facts['jobs']} jobs: {', '.join(counts)}; {facts['seconds']:.1f} s")


class BatchProgress:
    """Progress over all jobs: a bar on a terminal, otherwise a line at most every PRINT_SECONDS."""

    def __init__(self, total: int) -> None:
        self.total, self.start, self.last_print = total, time.monotonic(), 0.0
        self.bar: tqdm | None = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc="jobs", unit="job", file=sys.stderr)

    def __call__(self, record: dict, ended: int, total: int) -> None:
        """Show that a job has ended with `record`, as the `ended`-th of `total`."""
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(ended - self.bar.n)
        elif ended == total or now - self.last_print > PRINT_SECONDS:
            seconds_per_job = (now - self.start) / ended
            left = f"{seconds_per_job * (total - ended):.0f} s left"
            print(f"jobs {ended}/{total}, {60 / seconds_per_job:.1f} per minute, {left}", file=sys.stderr, flush=True)
            self.last_print = now
        if record["status"] == "failed":
            print(f"{record['id']}: {record['error']}", file=sys.stderr, flush=True)

    def __enter__(self) -> BatchProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
