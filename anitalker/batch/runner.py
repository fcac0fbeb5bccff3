"""Run many jobs into one folder, in such a way that the batch can be killed at any moment and started again.

results.jsonl holds one line per job that ended, written after the output has its name. A job is done when its last line
says so, with the hash of its inputs, options and model, and the output still has the hash of that line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from anitalker.batch.table import InvalidRow, Job
from anitalker.config import InputError
from anitalker.weights.registry import sha256

RESULTS_NAME = "results.jsonl"
# Of `files.part_path`, `media.parts` and `batch.worker`.
PART_NAME = re.compile(r"\..{1,80}\.[0-9a-f]{8}\.part\.(mp4|mov|webm|gif|webp|mkv|png|wav)")
Report = Callable[[dict, int, int], None]  # record, number of jobs that ended, number of jobs


class Engine(Protocol):
    """What runs the jobs: `batch.local.LocalEngine` or `batch.ray.RayEngine`."""

    def free(self) -> int:
        """Return how many jobs can be started now."""
        ...

    def start(self, job: Job) -> None:
        """Begin a job."""
        ...

    def wait(self, seconds: float = 1.0) -> list[tuple[Job, dict]]:
        """Wait up to `seconds`; return the jobs that ended, each with its outcome of `batch.worker.Worker.run`."""
        ...

    def close(self) -> None:
        """End all jobs that run."""
        ...


class Results:
    """The results file of a folder: append-only, one writer at a time. InputError if another batch writes to it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / RESULTS_NAME
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed by close)
        _lock(self._file, folder)
        self._cut_unfinished_line()

    def last(self) -> dict[str, dict]:
        """Return the last record of each job by id."""
        return self.read_only(self.folder)

    @staticmethod
    def read_only(folder: Path) -> dict[str, dict]:
        """Read the last record of each job without write access. Lines that are no records are skipped."""
        file, records = folder / RESULTS_NAME, {}
        for line in file.read_bytes().splitlines() if file.exists() else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if record["status"] != "refused":
                    records[record["id"]] = record
        return records

    def append(self, record: dict) -> None:
        """Append one line; it is on disk when this returns."""
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        os.fsync(self._file.fileno())

    def clear_parts(self) -> None:
        """Delete the half-written files of killed workers."""
        for file in self.folder.iterdir():
            if PART_NAME.fullmatch(file.name):
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, so that another batch may write."""
        self._file.close()

    def _cut_unfinished_line(self) -> None:
        """Cut off the last line if its writer was killed before it was whole."""
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):
            self._file.truncate(data.rfind(b"\n") + 1)


def _lock(file, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: the user must not run two batches at once
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InputError(f"another batch writes to {str(folder)!r}; wait for it, or choose another folder") from None


def check_folder(folder: str | os.PathLike) -> Path:
    """Return the output folder, made if it is missing; InputError if it cannot be made or written."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output folder cannot be made: {str(path)!r} ({error.strerror}); choose another") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"output folder cannot be written: {str(path)!r}; choose another")
    return path


def is_done(job: Job, fingerprint: str, record: dict | None, folder: Path) -> bool:
    """Whether the output of a job is there, whole, and made from the present inputs, options and model."""
    output = folder / job.output_name
    return (
        record is not None
        and record.get("status") == "done"
        and record.get("hash") == fingerprint
        and output.is_file()
        and sha256(output) == record.get("output_sha256")
    )


def plan(jobs: Sequence[Job], model: str, folder: Path, last: dict[str, dict]) -> tuple[dict[str, str], list[Job]]:
    """Return the fingerprint of each job by id, and the jobs that are still to be done."""
    fingerprints = {job.id: job.fingerprint(model) for job in jobs}
    return fingerprints, [job for job in jobs if not is_done(job, fingerprints[job.id], last.get(job.id), folder)]


def run(
    pending: Sequence[Job],
    fingerprints: dict[str, str],
    engine: Engine,
    results: Results,
    retries: int,
    report: Report,
) -> None:
    """Run the jobs, each up to `retries` times more after transient failures; record the end of each."""
    waiting, tries, ended = deque(pending), dict.fromkeys(fingerprints, 0), 0
    running: set[str] = set()
    try:
        while waiting or running:
            while waiting and engine.free() > 0:
                job = waiting.popleft()
                tries[job.id] += 1
                running.add(job.id)
                engine.start(job)
            for job, outcome in engine.wait():
                running.discard(job.id)
                if outcome["status"] == "failed" and outcome["transient"] and tries[job.id] <= retries:
                    waiting.append(job)
                    continue
                ended += 1
                record = make_record(job, fingerprints[job.id], outcome, tries[job.id], results.folder)
                results.append(record)
                report(record, ended, len(pending))
    finally:
        engine.close()
        results.clear_parts()


def make_record(job: Job, fingerprint: str, outcome: dict, tries: int, folder: Path) -> dict:
    """Make the record of a job that ended. An output that is missing in the folder makes it a failure."""
    output = folder / job.output_name
    record = {"id": job.id, "line": job.line, **{key: outcome[key] for key in ("status", "seconds", "frames", "error")}}
    record |= {"tries": tries, "hash": fingerprint, "output": None, "output_sha256": None}
    if outcome["status"] == "done":
        if output.is_file():
            record |= {"output": output.name, "output_sha256": outcome.get("output_sha256") or sha256(output)}
        else:
            record |= {"status": "failed", "error": "the output is not in the folder; do all machines share it?"}
    return {**record, "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def record_invalid(rows: Sequence[InvalidRow], results: Results) -> Iterator[dict]:
    """Yield a record for each invalid line of the table; those with an id go into the results, too."""
    for row in rows:
        record = {"id": row.id, "line": row.line, "status": "refused", "error": row.reason}
        if row.id:
            results.append({**record, "hash": None})
        yield record
