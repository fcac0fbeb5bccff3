"""The engine of a Ray cluster: actors that hold a model each; a lost one is replaced and its job done again.

The code must be installed on every machine of the cluster, and the output folder shared among them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace

from anitalker.batch.local import GIVE_UP, WORKER_MEMORY
from anitalker.batch.table import Job
from anitalker.batch.worker import Setup, Worker
from anitalker.config import InputError

START_TRIES = 3
STORE = 2**27  # bytes of Ray's object store on a cluster of our own: what travels are jobs and records


class Member:
    """What runs in an actor. A model that cannot be loaded is told, not raised: Ray would start it again."""

    def __init__(self, setup: Setup, make: type) -> None:
        self.worker, self.refusal = None, None
        try:
            self.worker = make(setup)
        except InputError as error:
            self.refusal = str(error)

    def loaded(self) -> str | None:
        """None when the model is ready, else why it cannot be."""
        return self.refusal

    def do(self, job: Job) -> dict:
        """As `Worker.do`."""
        return self.worker.do(job)


@dataclass
class Seat:
    """An actor, what it is asked (`loaded` first), and since when."""

    actor: object
    loading: object
    ready: bool = False
    job: Job | None = None
    asked: object | None = None
    since: float = field(default_factory=time.monotonic)


class Cluster:
    """Actors on an existing cluster (`address`), or on one of this machine that ends with us."""

    def __init__(
        self, setup: Setup, address: str | None, workers: int | None, jobs: int, timeout: float, make: type = Worker
    ) -> None:
        self.ray, self.timeout = _ray(), timeout
        _join(self.ray, address)
        have = self.ray.cluster_resources()
        gpus = int(have.get("GPU", 0)) if setup.model.get("device", "auto") in ("auto", "cuda") else 0
        cores, memory = max(1, int(have.get("CPU", 1))), have.get("memory", WORKER_MEMORY)
        self.workers = min(jobs, workers or gpus or max(1, min(cores, int(memory // WORKER_MEMORY))))
        # One per GPU, with no share of cores that could keep actors from being placed; else cores in equal groups.
        share = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": max(1, cores // self.workers)}
        if not gpus and self.workers > cores:
            share = {"num_cpus": cores / self.workers}
        setup = replace(setup, threads=0 if gpus else max(1, cores // self.workers))
        self._member = self.ray.remote(**share)(Member)
        self._arguments = (setup, make)
        self._seats: list[Seat] = []
        self._stillborn = 0

    def free(self) -> int:
        """Jobs that can be started now."""
        return self.workers - sum(seat.job is not None for seat in self._seats)

    def start(self, job: Job) -> None:
        """Give a job to an idle actor, a new one if there is none."""
        seat = next((seat for seat in self._seats if seat.job is None), None)
        if seat is None:
            actor = self._member.remote(*self._arguments)
            seat = Seat(actor, actor.loaded.remote())
            self._seats.append(seat)
        seat.job, seat.since, seat.asked = job, time.monotonic(), None
        if seat.ready:
            seat.asked = seat.actor.do.remote(job)

    def wait(self, seconds: float = 1.0) -> list[tuple[Job, dict]]:
        """Jobs that ended, with their records; after `seconds` none. InputError when the model cannot be loaded."""
        asked = {seat.asked if seat.ready else seat.loading: seat for seat in self._seats if seat.job is not None}
        answers = self.ray.wait(list(asked), timeout=seconds)[0] if asked else []
        ended = [self._hear(asked[answer], answer) for answer in answers]
        limit = time.monotonic() - self.timeout
        late = [seat for seat in self._seats if seat.job is not None and seat.ready and seat.since < limit]
        ended += [self._end(seat, f"took longer than {self.timeout:g} s", False) for seat in late]
        return [one for one in ended if one is not None]

    def close(self) -> None:
        """End the actors, and the cluster if it is ours."""
        for seat in self._seats:
            self.ray.kill(seat.actor)
        self._seats.clear()
        self.ray.shutdown()

    def _hear(self, seat: Seat, answer: object) -> tuple[Job, dict] | None:
        try:
            said = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            if not seat.ready:
                self._stillborn += 1
                if self._stillborn >= GIVE_UP:
                    raise RuntimeError(f"{GIVE_UP} actors ended while loading: {error}") from None
            return self._end(seat, f"its actor was lost ({type(error).__name__})", True)
        if seat.ready:
            job, seat.job = seat.job, None
            return job, said
        if said is not None:
            raise InputError(said)
        seat.ready, seat.since, self._stillborn = True, time.monotonic(), 0
        seat.asked = seat.actor.do.remote(seat.job)
        return None

    def _end(self, seat: Seat, reason: str, passing: bool) -> tuple[Job, dict]:
        """End an actor whose job went wrong."""
        self.ray.kill(seat.actor)
        self._seats.remove(seat)
        seconds = round(time.monotonic() - seat.since, 3)
        return seat.job, {"status": "failed", "error": reason, "passing": passing, "frames": None, "seconds": seconds}


def _ray():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray needs the package ray; pip install 'anitalker[ray]'") from None
    return ray


def _join(ray, address: str | None) -> None:
    """Connect to a cluster, or start one; InputError where there is none at the address."""
    own = {} if address else {"include_dashboard": False, "object_store_memory": STORE}
    for attempt in range(START_TRIES):
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
            return
        except Exception as error:  # Ray raises a bare one when a busy machine starts its parts too slowly
            ray.shutdown()
            if "timed out" in str(error) and attempt + 1 < START_TRIES:
                continue
            if type(error) not in (ConnectionError, ValueError, RuntimeError, Exception):
                raise
            reason = " ".join(str(error).split())[:200]
            where = f"at {address!r}" if address else "on this machine"
            raise InputError(f"no Ray cluster {where} ({reason}); start one, or use --engine local") from None
