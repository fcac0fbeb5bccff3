"""A queue that runs one job at a time: position, progress, time left, cancellation."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from anitalker.config import InputError

MIN_ELAPSED = 0.5  # seconds of a stage before its time left is estimated


class Cancelled(Exception):
    """Raised inside a job's work after the job was cancelled."""


class Job:
    """A piece of work. `work(job)` calls `job.report` often; its return value becomes `result`, its exception `error`.

    `state` is waiting, running, done, failed or cancelled. The event `ended` is set in each of the last three.
    """

    def __init__(self, work: Callable[[Job], Any], inputs: dict[str, Any] | None = None) -> None:
        self._work = work
        self.inputs = inputs or {}  # the kind of work and what the widgets showed, by name
        self.state = "waiting"
        self.stage, self.done, self.total = "", 0, 0
        self.step = ""  # of a batch: which recording is spoken, for people
        self.warnings: list[str] = []  # what may spoil the result, as the work goes on
        self.live: Any = None  # set by the page's work: the video while it is made
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self._cancelled = threading.Event()
        self._stage_start = 0.0

    def report(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Record the progress of a stage. Raises Cancelled after `cancel`, which ends the work."""
        if self._cancelled.is_set():
            raise Cancelled
        if stage != self.stage:
            self._stage_start = time.monotonic()
        self.stage, self.done, self.total = stage, done, total

    def cancel(self) -> None:
        """End the job: at its next `report` if it runs, at once if it waits."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called; the work may still be running."""
        return self._cancelled.is_set()

    def seconds_left(self) -> float | None:
        """Estimate the time left in the current stage from its pace so far; None while that is unknown."""
        elapsed = time.monotonic() - self._stage_start
        if not self.done or not self.total or elapsed < MIN_ELAPSED:
            return None
        return elapsed / self.done * (self.total - self.done)

    def run(self) -> None:
        """Do the work. Never raises: the outcome is in `state`, `result` and `error`."""
        try:
            self.state = "running"
            self.report("start")
            self.result = self._work(self)
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except BaseException as error:
            self.error, self.state = error, "failed"
        finally:
            self.ended.set()


class JobQueue:
    """Runs jobs in order of arrival on one thread. At most `max_waiting` jobs wait behind the running one."""

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._jobs: deque[Job] = deque()  # the first is running
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[Job], Any], inputs: dict[str, Any] | None = None) -> Job:
        """Append a job. Raises InputError when the queue is full."""
        with self._changed:
            self._drop_cancelled()
            if len(self._jobs) > self.max_waiting:
                raise InputError(
                    f"{len(self._jobs)} videos are already being made or waiting; try again in a few minutes"
                )
            job = Job(work, inputs)
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_jobs, name="jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return job

    def position(self, job: Job) -> int:
        """Return the number of jobs before this one; 0 when it runs or has ended."""
        with self._changed:
            self._drop_cancelled()
            return self._jobs.index(job) if job in self._jobs else 0

    @property
    def count(self) -> int:
        """Number of jobs that run or wait."""
        with self._changed:
            self._drop_cancelled()
            return len(self._jobs)

    def cancel_all(self) -> None:
        """Cancel every job, running or waiting."""
        with self._changed:
            for job in self._jobs:
                job.cancel()
            self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.state == "waiting" and job.cancelled]:
            self._jobs.remove(job)
            job.state = "cancelled"
            job.ended.set()

    def _run_jobs(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                job = self._jobs[0]
                job.state = "running"
            job.run()
            with self._changed:
                self._jobs.remove(job)
