"""The engine of a Ray cluster: actors that hold a model each; a lost actor is replaced and its job done again.

The code must be installed on every machine of the cluster, and the output folder shared among them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from anitalker.batch.local import MAX_FAILED_STARTS, WORKER_BYTES
from anitalker.batch.table import Job
from anitalker.batch.worker import Worker, WorkerSetup
from anitalker.config import InputError

MAX_START_ATTEMPTS = 3
OBJECT_STORE_BYTES = 2**27  # of a cluster that we start: it carries jobs and outcomes only


class WorkerActor:
    """A worker in an actor. It reports a model that cannot be loaded, as Ray would restart an actor that raises."""

    def __init__(self, setup: WorkerSetup, worker_class: Callable[[WorkerSetup], Worker]) -> None:
        self.worker: Worker | None = None
        self.load_error: str | None = None
        try:
            self.worker = worker_class(setup)
        except InputError as error:
            self.load_error = str(error)

    def report_loading(self) -> str | None:
        """Return why the model cannot be loaded; None when it is ready."""
        return self.load_error

    def run(self, job: Job) -> dict:
        """Run a job as `Worker.run` does."""
        assert self.worker is not None
        return self.worker.run(job)


@dataclass
class WorkerSlot:
    """An actor, its job, and the references to its pending results.

    loading: of `report_loading`; running: of `run`; since: monotonic time in seconds when it got its job or was ready.
    """

    actor: Any
    loading: Any
    ready: bool = False
    job: Job | None = None
    running: Any = None
    since: float = field(default_factory=time.monotonic)


class RayEngine:
    """Actors on an existing cluster (`address`), or on one that is started on this machine and ends with the batch."""

    def __init__(
        self,
        setup: WorkerSetup,
        address: str | None,
        workers: int | None,
        jobs: int,
        timeout: float,
        worker_class: Callable[[WorkerSetup], Worker] = Worker,
    ) -> None:
        self.ray, self.timeout = _import_ray(), timeout
        _connect(self.ray, address)
        resources = self.ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if setup.load_arguments.get("device", "auto") in ("auto", "cuda") else 0
        cores, memory = max(1, int(resources.get("CPU", 1))), resources.get("memory", WORKER_BYTES)
        self.workers = min(jobs, workers or gpus or max(1, min(cores, int(memory // WORKER_BYTES))))
        # One actor per GPU, without cores, whose lack could keep it from being placed; else equal shares of cores.
        share = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": max(1, cores // self.workers)}
        if not gpus and self.workers > cores:
            share = {"num_cpus": cores / self.workers}
        setup = replace(setup, threads=0 if gpus else max(1, cores // self.workers))
        self._actor_class = self.ray.remote(**share)(WorkerActor)
        self._actor_arguments = (setup, worker_class)
        self._slots: list[WorkerSlot] = []
        self._failed_starts = 0

    def free(self) -> int:
        """Return how many jobs can be started now."""
        return self.workers - sum(slot.job is not None for slot in self._slots)

    def start(self, job: Job) -> None:
        """Give a job to an idle actor, to a new one if there is none."""
        slot = next((slot for slot in self._slots if slot.job is None), None)
        if slot is None:
            actor = self._actor_class.remote(*self._actor_arguments)
            slot = WorkerSlot(actor, actor.report_loading.remote())
            self._slots.append(slot)
        slot.job, slot.since, slot.running = job, time.monotonic(), None
        if slot.ready:
            slot.running = slot.actor.run.remote(job)

    def wait(self, seconds: float = 1.0) -> list[tuple[Job, dict]]:
        """Wait up to `seconds`; return the jobs that ended, with their outcomes.

        InputError when the model cannot be loaded; RuntimeError when actor after actor is lost while loading it.
        """
        pending = {slot.running if slot.ready else slot.loading: slot for slot in self._slots if slot.job is not None}
        available = self.ray.wait(list(pending), timeout=seconds)[0] if pending else []
        ended = [self._receive(pending[reference], reference) for reference in available]
        limit = time.monotonic() - self.timeout
        late = [slot for slot in self._slots if slot.job is not None and slot.ready and slot.since < limit]
        ended += [self._end(slot, f"took longer than {self.timeout:g} s", False) for slot in late]
        return [outcome for outcome in ended if outcome is not None]

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        for slot in self._slots:
            self.ray.kill(slot.actor)
        self._slots.clear()
        self.ray.shutdown()

    def _receive(self, slot: WorkerSlot, reference: Any) -> tuple[Job, dict] | None:
        """Read the result of an actor, or note its loss: the job that ended by it, with its outcome."""
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            if not slot.ready:
                self._failed_starts += 1
                if self._failed_starts >= MAX_FAILED_STARTS:
                    raise RuntimeError(f"{MAX_FAILED_STARTS} actors ended while loading: {error}") from None
            return self._end(slot, f"its actor was lost ({type(error).__name__})", True)
        if slot.ready:
            job, slot.job = slot.job, None
            return (job, result) if job is not None else None
        if result is not None:
            raise InputError(result)
        slot.ready, slot.since, self._failed_starts = True, time.monotonic(), 0
        slot.running = slot.actor.run.remote(slot.job)
        return None

    def _end(self, slot: WorkerSlot, reason: str, transient: bool) -> tuple[Job, dict] | None:
        """End an actor whose job failed; transient: the job may succeed if it is tried again."""
        self.ray.kill(slot.actor)
        self._slots.remove(slot)
        seconds = round(time.monotonic() - slot.since, 3)
        if slot.job is None:
            return None
        return slot.job, {
            "status": "failed",
            "error": reason,
            "transient": transient,
            "frames": None,
            "seconds": seconds,
        }


def _import_ray() -> Any:
    """Import ray with its usage reports switched off; InputError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # by default Ray reports to its makers
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray needs the package ray; pip install 'anitalker[ray]'") from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one; InputError where there is none at the address."""
    start_arguments = {} if address else {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    for attempt in range(MAX_START_ATTEMPTS):
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="error", **start_arguments)
            return
        except Exception as error:  # Ray raises a bare Exception when a busy machine is slow to start its processes
            ray.shutdown()
            if "timed out" in str(error) and attempt + 1 < MAX_START_ATTEMPTS:
                continue
            if type(error) not in (ConnectionError, ValueError, RuntimeError, Exception):
                raise
            reason = " ".join(str(error).split())[:200]
            where = f"at {address!r}" if address else "on this machine"
            raise InputError(f"no Ray cluster {where} ({reason}); start one, or use --engine local") from None
