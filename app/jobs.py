"""One job at a time, the others wait in line: place, progress, time left, and a cancel that ends the work."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from anitalker.config import InputError


class Cancelled(Exception):
    """Raised inside a job's work when it was cancelled."""


class Job:
    """A piece of work: `work(job)` calls `job.tell` often; what it returns is `result`, what it raises is `error`."""

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self._work = work
        self.state = "waiting"  # waiting, running, done, failed, cancelled
        self.stage, self.done, self.total = "", 0, 0
        self.early: Any = None  # a first part of the result, there before the whole
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self._cancelled = threading.Event()
        self._stage_began = 0.0

    def tell(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Progress of a stage. Raises Cancelled once the job is cancelled: that is how work stops."""
        if self._cancelled.is_set():
            raise Cancelled
        if stage != self.stage:
            self._stage_began = time.monotonic()
        self.stage, self.done, self.total = stage, done, total

    def cancel(self) -> None:
        """End the job at its next `tell`, or at once if it waits."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self._cancelled.is_set()

    def seconds_left(self) -> float | None:
        """Of the stage at hand, at its pace so far; None until that is known."""
        spent = time.monotonic() - self._stage_began
        if not self.done or not self.total or spent < 0.5:
            return None
        return spent / self.done * (self.total - self.done)

    def run(self) -> None:
        """Do the work; nothing is raised, everything is kept."""
        try:
            self.state = "running"
            self.tell("start")
            self.result = self._work(self)
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except BaseException as error:
            self.error, self.state = error, "failed"
        finally:
            self.ended.set()


class Line:
    """Jobs in the order in which they came; one thread does them. At most `waiting` wait behind the one at work."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._jobs: deque[Job] = deque()  # the first is at work
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[Job], Any]) -> Job:
        """Stand in line; InputError when it is full."""
        with self._changed:
            self._drop_cancelled()
            if len(self._jobs) > self.waiting:
                raise InputError(f"{len(self._jobs)} videos are being made or wait already; try again in a few minutes")
            job = Job(work)
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return job

    def place(self, job: Job) -> int:
        """0: at work or ended; 1: the next; and so on."""
        with self._changed:
            self._drop_cancelled()
            return self._jobs.index(job) if job in self._jobs else 0

    def cancel_all(self) -> None:
        """Every job ends."""
        with self._changed:
            for job in self._jobs:
                job.cancel()
            self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        for job in [one for one in self._jobs if one.state == "waiting" and one.cancelled]:
            self._jobs.remove(job)
            job.state = "cancelled"
            job.ended.set()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                job = self._jobs[0]
                job.state = "running"
            job.run()
            with self._changed:
                self._jobs.remove(job)
