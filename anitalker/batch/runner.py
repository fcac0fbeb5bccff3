"""Many jobs into one folder, so that it can be killed at any moment and started again.

What was done stands in results.jsonl, one line per job, written after the output has its name. A job is done when its
last line says so, with the hash of its inputs, options and model, and the output still has the hash of that line.
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

RESULTS = "results.jsonl"
PART = re.compile(r"\..{1,80}\.[0-9a-f]{8}\.part\.(mp4|wav)")  # what a killed worker leaves; see video.Writer
Tell = Callable[[dict, int, int], None]  # record, jobs that ended, all jobs


class Engine(Protocol):
    """Where jobs run: `batch.local.Local` or `batch.ray.Cluster`."""

    def free(self) -> int:
        """Jobs that can be started now."""

    def start(self, job: Job) -> None:
        """Begin a job."""

    def wait(self, seconds: float = 1.0) -> list[tuple[Job, dict]]:
        """Jobs that ended, and what `batch.worker.Worker.do` says of them."""

    def close(self) -> None:
        """End what runs."""


class Results:
    """The results file of a folder: append-only, one writer at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / RESULTS
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed by close)
        _lock(self._file, folder)
        self._mend()

    def last(self) -> dict[str, dict]:
        """The last record of each job by id."""
        return self.peek(self.folder)

    @staticmethod
    def peek(folder: Path) -> dict[str, dict]:
        """The same without the right to write. Lines that are no records are passed over."""
        file, found = folder / RESULTS, {}
        for line in file.read_bytes().splitlines() if file.exists() else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if record["status"] != "refused":
                    found[record["id"]] = record
        return found

    def append(self, record: dict) -> None:
        """One line, on disk when this returns."""
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        os.fsync(self._file.fileno())

    def clear_parts(self) -> None:
        """Delete what killed workers left half-written."""
        for file in self.folder.iterdir():
            if PART.fullmatch(file.name):
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others write."""
        self._file.close()

    def _mend(self) -> None:
        """Cut off a line that was not finished when its writer was killed."""
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):
            self._file.truncate(data.rfind(b"\n") + 1)


def _lock(file, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two batches at once are the user's own care
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InputError(f"another batch writes to {str(folder)!r}; wait for it, or choose another folder") from None


def check_folder(folder: str | os.PathLike) -> Path:
    """The output folder, made if it is missing; InputError if it cannot be."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output folder cannot be made: {str(path)!r} ({error.strerror}); choose another") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"output folder cannot be written: {str(path)!r}; choose another")
    return path


def finished(job: Job, fingerprint: str, record: dict | None, folder: Path) -> bool:
    """Whether the output of a job is there, whole, and made from what the job says now."""
    output = folder / f"{job.id}.mp4"
    return (
        record is not None
        and record.get("status") == "done"
        and record.get("hash") == fingerprint
        and output.is_file()
        and sha256(output) == record.get("output_sha256")
    )


def plan(jobs: Sequence[Job], model: str, folder: Path, last: dict[str, dict]) -> tuple[dict[str, str], list[Job]]:
    """Fingerprint of each job by id, and the jobs that are still to be done."""
    prints = {job.id: job.fingerprint(model) for job in jobs}
    return prints, [job for job in jobs if not finished(job, prints[job.id], last.get(job.id), folder)]


def run(
    todo: Sequence[Job], prints: dict[str, str], engine: Engine, results: Results, retries: int, tell: Tell
) -> None:
    """Do the jobs, each tried again `retries` times after passing faults; every end is a line of the results."""
    waiting, tries, ended = deque(todo), dict.fromkeys(prints, 0), 0
    running: set[str] = set()
    try:
        while waiting or running:
            while waiting and engine.free() > 0:
                job = waiting.popleft()
                tries[job.id] += 1
                running.add(job.id)
                engine.start(job)
            for job, said in engine.wait():
                running.discard(job.id)
                if said["status"] == "failed" and said["passing"] and tries[job.id] <= retries:
                    waiting.append(job)
                    continue
                ended += 1
                record = recorded(job, prints[job.id], said, tries[job.id], results.folder)
                results.append(record)
                tell(record, ended, len(todo))
    finally:
        engine.close()
        results.clear_parts()


def recorded(job: Job, fingerprint: str, said: dict, tries: int, folder: Path) -> dict:
    """The line of a job that ended. A video that is not there after all is a failure."""
    output = folder / f"{job.id}.mp4"
    record = {"id": job.id, "line": job.line, **{key: said[key] for key in ("status", "seconds", "frames", "error")}}
    record |= {"tries": tries, "hash": fingerprint, "output": None, "output_sha256": None}
    if said["status"] == "done":
        if output.is_file():
            record |= {"output": output.name, "output_sha256": said.get("output_sha256") or sha256(output)}
        else:
            record |= {"status": "failed", "error": "the output is not in the folder; do all machines share it?"}
    return {**record, "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def refuse(refused: Sequence[InvalidRow], results: Results) -> Iterator[dict]:
    """Lines of the table that are no jobs, as records; those that have an id are noted."""
    for one in refused:
        record = {"id": one.id, "line": one.line, "status": "refused", "error": one.reason}
        if one.id:
            results.append({**record, "hash": None})
        yield record
