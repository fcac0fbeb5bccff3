"""The engine of one machine: worker processes, cores shared out among them, dead or late ones replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from anitalker.batch.table import Job
from anitalker.batch.worker import Setup, Worker
from anitalker.config import InputError

WORKER_MEMORY = 1.5 * 2**30  # bytes that a worker of the small model may take, with room
GIVE_UP = 3  # workers in a row that end before their model is loaded


@dataclass
class Seat:
    """A worker process and what it is at; since: when it began, None before its model is loaded."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    ready: bool = False
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)


class Local:
    """Worker processes on this machine. `start` gives one a job, `wait` tells what became of jobs."""

    def __init__(self, setup: Setup, workers: int, timeout: float, make: type = Worker) -> None:
        self.setup, self.workers, self.timeout, self.make = setup, workers, timeout, make
        self._seats: list[Seat] = []
        self._stillborn = 0

    def free(self) -> int:
        """Jobs that can be started now."""
        return self.workers - sum(seat.job is not None for seat in self._seats)

    def start(self, job: Job) -> None:
        """Give a job to an idle worker, a new one if there is none."""
        seat = next((seat for seat in self._seats if seat.job is None), None)
        if seat is None:
            seat = self._hire(len(self._seats))
            self._seats.append(seat)
        seat.job, seat.since = job, time.monotonic()
        with contextlib.suppress(OSError):  # it is dead: `wait` finds out
            seat.connection.send(job)

    def wait(self, seconds: float = 1.0) -> list[tuple[Job, dict]]:
        """Jobs that ended, with their records; after `seconds` none. InputError when the model cannot be loaded."""
        handles = {seat.connection: seat for seat in self._seats} | {s.process.sentinel: s for s in self._seats}
        woken = {id(seat): seat for seat in map(handles.get, wait(list(handles), seconds))}
        ended = [self._hear(seat) for seat in woken.values()]
        ended += [self._end(seat, f"took longer than {self.timeout:g} s", False) for seat in self._late()]
        return [one for one in ended if one is not None]

    def close(self) -> None:
        """End every worker; what they were at is left undone, nothing half-written."""
        for seat in self._seats:
            seat.process.terminate()
        for seat in self._seats:
            self._bury(seat)
        self._seats.clear()

    def _hear(self, seat: Seat) -> tuple[Job, dict] | None:
        try:
            if not seat.connection.poll():
                raise EOFError
            kind, said = seat.connection.recv()
        except (EOFError, OSError):
            seat.process.join(1)
            if not seat.ready and (self._count_stillborn() >= GIVE_UP):
                raise RuntimeError(f"{GIVE_UP} workers ended while loading; is there enough memory?") from None
            return self._end(seat, f"its worker ended (exit status {seat.process.exitcode})", True)
        if kind == "refused":
            raise InputError(said)
        if kind == "ready":
            seat.ready, seat.since, self._stillborn = True, time.monotonic(), 0
            return None
        job, seat.job = seat.job, None
        return job, said

    def _count_stillborn(self) -> int:
        self._stillborn += 1
        return self._stillborn

    def _late(self) -> Iterator[Seat]:
        limit = time.monotonic() - self.timeout
        return (s for s in list(self._seats) if s.job is not None and s.ready and s.since < limit)

    def _end(self, seat: Seat, reason: str, passing: bool) -> tuple[Job, dict] | None:
        """End a worker whose job went wrong."""
        seconds = round(time.monotonic() - seat.since, 3)
        seat.process.terminate()
        self._bury(seat)
        self._seats.remove(seat)
        if seat.job is None:
            return None
        return seat.job, {"status": "failed", "error": reason, "passing": passing, "frames": None, "seconds": seconds}

    def _bury(self, seat: Seat) -> None:
        seat.process.join(5)
        if seat.process.is_alive():
            seat.process.kill()
            seat.process.join()
        seat.connection.close()

    def _hire(self, number: int) -> Seat:
        context = multiprocessing.get_context("spawn")  # a fork of a process that runs torch may hang
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, self.setup, self.make), name=f"batch-{number}", daemon=True
        )
        with _environment(self.setup, number):
            process.start()
        theirs.close()
        return Seat(process, ours)


def serve(connection: Connection, setup: Setup, make: type) -> None:
    """The life of a worker process: make the worker, then job after job until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_follow, daemon=True).start()
    try:
        try:
            worker = make(setup)
        except InputError as error:
            connection.send(("refused", str(error)))
            return
        connection.send(("ready", None))
        while True:
            connection.send(("record", worker.do(connection.recv())))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _follow() -> None:
    """End with the parent, even if it was killed: its successor shall have the cores and the files for itself."""
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def _environment(setup: Setup, number: int) -> Iterator[None]:
    """What a new process must know before torch is loaded: its threads and, of several GPUs, its own."""
    before = dict(os.environ)
    if setup.threads:
        os.environ["OMP_NUM_THREADS"] = str(setup.threads)
    if setup.gpus > 1:
        visible = before.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(setup.gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % setup.gpus]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def gpus(device: str) -> int:
    """CUDA devices of this machine, if `device` (as --device says it) lets them be used."""
    import torch

    return torch.cuda.device_count() if device in ("auto", "cuda") else 0


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(device: str) -> int:
    """One worker per GPU where there are some; else one per core, as far as memory reaches."""
    if count := gpus(device):
        return count
    if device == "mps":
        return 1
    return max(1, min(cores(), int(_free_memory() // WORKER_MEMORY)))


def _free_memory() -> float:
    """Bytes that can be had without swapping; a guess where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(float(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 * WORKER_MEMORY
