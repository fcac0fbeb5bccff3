"""anitalker batch: a table of jobs, many videos; can be killed and started again."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from anitalker.commands import options as flags
from anitalker.config import InputError

HELP = "many videos from a table of jobs; can be stopped and continued"
SHOWN = 20  # lines of the final table, and bad lines that are printed
FAILED = 3  # exit status: the batch ran, but not every job succeeded


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument(
        "table", metavar="JOBS.csv|JOBS.jsonl", help="columns: id, portrait, speech, text or video, options"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the videos and results.jsonl")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="default: %(default)s")
    parser.add_argument("--ray-address", metavar="ADDRESS", help="a running Ray cluster (auto: this machine's)")
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per GPU, or per core as memory allows")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="of one job (default: 3600)")
    parser.add_argument("--retries", type=int, default=2, help="after passing faults (default: %(default)s)")
    parser.add_argument("--keep-going", action="store_true", help="render the good lines of a table with bad ones")
    parser.add_argument("--dry-run", action="store_true", help="check every line, say what would be done, do nothing")
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Check the table, do what is not done yet -> facts for --json; exit status 3 if a job failed."""
    from anitalker.batch import runner, table
    from anitalker.models import loading

    _check(arguments)
    jobs, refused = table.read(arguments.table)
    _complain(refused)
    if refused and not (arguments.keep_going or arguments.dry_run):
        count = f"{len(refused)} of {len(jobs) + len(refused)} lines"
        raise InputError(f"{count} are no jobs, nothing was rendered; mend them, or give --keep-going")
    if arguments.engine == "ray":
        from anitalker.batch import ray  # noqa: F401 (says early what is missing)
    named = flags.model_of(arguments)
    model = loading.fingerprint(named["name"], named["stage1"], named["stage2"]) + (named["hubert"] or "")
    if arguments.dry_run:
        folder = Path(arguments.output)
        todo = runner.plan(jobs, model, folder, runner.Results.peek(folder))[1]
        return _facts(arguments, jobs, todo, refused, [], 0.0)
    folder = runner.check_folder(arguments.output)
    results = runner.Results(folder)
    start, ended, todo = time.monotonic(), [], []
    try:
        results.clear_parts()
        prints, todo = runner.plan(jobs, model, folder, results.last())
        ended = list(runner.refuse(refused, results))
        if todo:
            engine = _engine(arguments, named, folder, len(todo))
            with Told(len(todo)) as told:
                runner.run(
                    todo, prints, engine, results, arguments.retries, lambda *it: (ended.append(it[0]), told(*it))
                )
    finally:
        results.close()
    return _facts(arguments, jobs, todo, refused, ended, time.monotonic() - start)


def _check(arguments: argparse.Namespace) -> None:
    for name, low in (("workers", 1), ("retries", 0), ("timeout", 1)):
        value = getattr(arguments, name)
        if value is not None and not low <= value <= 1e6:
            raise InputError(f"{name} is {value}; allowed is {low} to 1000000")
    if arguments.ray_address and arguments.engine != "ray":
        raise InputError(f"--ray-address came with --engine {arguments.engine}; it belongs to --engine ray")


def _engine(arguments: argparse.Namespace, model: dict, folder, jobs: int):
    """Where the jobs will run."""
    from anitalker.batch import local, worker

    if arguments.engine == "ray":
        from anitalker.batch.ray import Cluster

        setup = worker.Setup(model, str(folder.resolve()))
        return Cluster(setup, arguments.ray_address, arguments.workers, jobs, arguments.timeout)
    workers = min(jobs, arguments.workers or local.default_workers(arguments.device))
    threads = max(1, local.cores() // workers)
    setup = worker.Setup(model, str(folder), threads, local.gpus(arguments.device))
    return local.Local(setup, workers, arguments.timeout)


def _complain(refused) -> None:
    """Bad lines on stderr, the first of many."""
    for one in refused[:SHOWN]:
        print(f"line {one.line}{f' ({one.id!r})' if one.id else ''}: {one.reason}", file=sys.stderr)
    if len(refused) > SHOWN:
        print(f"... and {len(refused) - SHOWN} more bad lines", file=sys.stderr)


def _facts(arguments, jobs, todo, refused, ended, seconds: float) -> dict:
    failures = [
        {key: one[key] for key in ("id", "line", "status", "error")} for one in ended if one["status"] != "done"
    ]
    done = sum(one["status"] == "done" for one in ended)
    return {
        "output": arguments.output,
        "jobs": len(jobs) + len(refused),
        "done": done,
        "skipped": len(jobs) - len(todo),
        "failed": sum(one["status"] == "failed" for one in ended),
        "refused": len(refused),
        "to_do": len(todo) if arguments.dry_run else 0,
        "dry_run": arguments.dry_run,
        "seconds": round(seconds, 3),
        "failures": failures,
        "exit_status": FAILED if failures or refused else 0,
    }


def say(facts: dict) -> None:
    """The table at the end."""
    if facts["dry_run"]:
        print(f"{facts['to_do']} jobs to do, {facts['skipped']} done before, {facts['refused']} bad lines")
        return
    width = max([2, *(len(one["id"]) for one in facts["failures"][:SHOWN])])
    for one in facts["failures"][:SHOWN]:
        print(f"{one['line']:>6}  {one['id']:<{width}}  {one['status']:<7}  {one['error']}")
    if len(facts["failures"]) > SHOWN:
        print(f"... and {len(facts['failures']) - SHOWN} more; see {facts['output']}/results.jsonl")
    kinds = ("done", "skipped", "failed", "refused")
    counts = ", ".join(f"{facts[kind]} {kind}" for kind in kinds if facts[kind] or kind == "done")
    print(f"{facts['output']}: {facts['jobs']} jobs: {counts}; {facts['seconds']:.1f} s")


class Told:
    """Progress over all jobs: a bar on a terminal, otherwise a line at most every five seconds."""

    def __init__(self, total: int) -> None:
        self.total, self.start, self.told, self.bar = total, time.monotonic(), 0.0, None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc="jobs", unit="job", file=sys.stderr)

    def __call__(self, record: dict, ended: int, total: int) -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(ended - self.bar.n)
        elif ended == total or now - self.told > 5:
            each = (now - self.start) / ended
            left = f"{each * (total - ended):.0f} s left"
            print(f"jobs {ended}/{total}, {60 / each:.1f} per minute, {left}", file=sys.stderr, flush=True)
            self.told = now
        if record["status"] == "failed":
            print(f"{record['id']}: {record['error']}", file=sys.stderr, flush=True)

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
