"""The engine of one machine: worker processes that share its cores; dead and late ones are replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import cast

from anitalker.batch.table import Job
from anitalker.batch.worker import Worker, WorkerSetup
from anitalker.config import InputError
from anitalker.runtime.cores import count_cores

WORKER_BYTES = 1.5 * 2**30  # memory that a worker of the small model may take, with room
MAX_FAILED_STARTS = 3  # workers in a row that end before their model is loaded


@dataclass
class WorkerSlot:
    """A worker process and its job.

    ready: its model is loaded; since: monotonic time in seconds when it started, or was given its job, or was ready.
    """

    process: multiprocessing.process.BaseProcess
    connection: Connection
    ready: bool = False
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)


class LocalEngine:
    """Up to `workers` worker processes on this machine; a job that takes more than `timeout` seconds is ended."""

    def __init__(
        self, setup: WorkerSetup, workers: int, timeout: float, worker_class: Callable[[WorkerSetup], Worker] = Worker
    ) -> None:
        self.setup, self.workers, self.timeout, self.worker_class = setup, workers, timeout, worker_class
        self._slots: list[WorkerSlot] = []
        self._failed_starts = 0

    def free(self) -> int:
        """Return how many jobs can be started now."""
        return self.workers - sum(slot.job is not None for slot in self._slots)

    def start(self, job: Job) -> None:
        """Give a job to an idle worker, to a new one if there is none."""
        slot = next((slot for slot in self._slots if slot.job is None), None)
        if slot is None:
            slot = self._spawn(len(self._slots))
            self._slots.append(slot)
        slot.job, slot.since = job, time.monotonic()
        with contextlib.suppress(OSError):  # the worker is dead: `wait` notices
            slot.connection.send(job)

    def wait(self, seconds: float = 1.0) -> list[tuple[Job, dict]]:
        """Wait up to `seconds`; return the jobs that ended, with their outcomes.

        InputError when the model cannot be loaded; RuntimeError when worker after worker dies while loading it.
        """
        handles: dict[object, WorkerSlot] = {slot.connection: slot for slot in self._slots}
        handles |= {slot.process.sentinel: slot for slot in self._slots}
        awake = {
            id(handles[handle]): handles[handle]
            for handle in wait(cast("list[Connection | int]", list(handles)), seconds)
        }
        ended = [self._receive(slot) for slot in awake.values()]
        ended += [self._end(slot, f"took longer than {self.timeout:g} s", False) for slot in self._late()]
        return [outcome for outcome in ended if outcome is not None]

    def close(self) -> None:
        """End every worker. Their jobs are left undone, with nothing half-written."""
        for slot in self._slots:
            slot.process.terminate()
        for slot in self._slots:
            self._reap(slot)
        self._slots.clear()

    def _receive(self, slot: WorkerSlot) -> tuple[Job, dict] | None:
        """Read a message of a worker, or note its death: the job that ended by it, with its outcome."""
        try:
            if not slot.connection.poll():
                raise EOFError
            kind, content = slot.connection.recv()
        except (EOFError, OSError):
            slot.process.join(1)
            if not slot.ready and (self._count_failed_start() >= MAX_FAILED_STARTS):
                raise RuntimeError(
                    f"{MAX_FAILED_STARTS} workers ended while loading; is there enough memory?"
                ) from None
            return self._end(slot, f"its worker ended (exit status {slot.process.exitcode})", True)
        if kind == "refused":
            raise InputError(content)
        if kind == "ready":
            slot.ready, slot.since, self._failed_starts = True, time.monotonic(), 0
            return None
        job, slot.job = slot.job, None
        return (job, content) if job is not None else None

    def _count_failed_start(self) -> int:
        self._failed_starts += 1
        return self._failed_starts

    def _late(self) -> Iterator[WorkerSlot]:
        limit = time.monotonic() - self.timeout
        return (slot for slot in list(self._slots) if slot.job is not None and slot.ready and slot.since < limit)

    def _end(self, slot: WorkerSlot, reason: str, transient: bool) -> tuple[Job, dict] | None:
        """End a worker whose job failed; transient: the job may succeed if it is tried again."""
        seconds = round(time.monotonic() - slot.since, 3)
        slot.process.terminate()
        self._reap(slot)
        self._slots.remove(slot)
        if slot.job is None:
            return None
        return slot.job, {
            "status": "failed",
            "error": reason,
            "transient": transient,
            "frames": None,
            "seconds": seconds,
        }

    def _reap(self, slot: WorkerSlot) -> None:
        """Wait for a terminated process, or kill it, and close its pipe."""
        slot.process.join(5)
        if slot.process.is_alive():
            slot.process.kill()
            slot.process.join()
        slot.connection.close()

    def _spawn(self, number: int) -> WorkerSlot:
        context = multiprocessing.get_context("spawn")  # a fork of a process that runs torch may hang
        connection, worker_end = context.Pipe()
        process = context.Process(
            target=serve, args=(worker_end, self.setup, self.worker_class), name=f"batch-{number}", daemon=True
        )
        with _environment(self.setup, number):
            process.start()
        worker_end.close()
        return WorkerSlot(process, connection)


def serve(connection: Connection, setup: WorkerSetup, worker_class: Callable[[WorkerSetup], Worker]) -> None:
    """Run a worker process: load the model, then do job after job until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        try:
            worker = worker_class(setup)
        except InputError as error:
            connection.send(("refused", str(error)))
            return
        connection.send(("ready", None))
        while True:
            connection.send(("outcome", worker.run(connection.recv())))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _exit_with_parent() -> None:
    """Exit when the parent does, even if it was killed: the next batch shall have the cores and files for itself."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


@contextlib.contextmanager
def _environment(setup: WorkerSetup, number: int) -> Iterator[None]:
    """Set what a new process must know before torch is imported: its threads and, of several GPUs, the one to use."""
    previous = dict(os.environ)
    if setup.threads:
        os.environ["OMP_NUM_THREADS"] = str(setup.threads)
    if setup.gpus > 1:
        visible = previous.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(setup.gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % setup.gpus]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(previous)


def count_gpus(device: str) -> int:
    """Count the CUDA devices of this machine; 0 if `device` (the value of --device) rules them out."""
    import torch

    return torch.cuda.device_count() if device in ("auto", "cuda") else 0


def default_workers(device: str) -> int:
    """Return one worker per GPU; where there is none, one per core, as far as memory reaches."""
    if count := count_gpus(device):
        return count
    if device == "mps":
        return 1
    return max(1, min(count_cores(), int(_free_bytes() // WORKER_BYTES)))


def _free_bytes() -> float:
    """Memory that can be used without swapping, in bytes; a guess where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(float(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 * WORKER_BYTES
