"""What limits a batch on many workers: jobs of measured costs on a simulated cluster with one shared storage.

python -m scripts.simulate_cluster [--workers 100] [--jobs 10000] [--seconds 5] [--draw 1.0]
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

MB = 1e6


@dataclass(frozen=True)
class Cluster:
    """Costs in seconds, of one worker unless said otherwise. Defaults: measured, processor time of one core."""

    workers: int = 100
    jobs: int = 10_000
    seconds: float = 5.0  # of video in a job
    start: float = 2.1  # import and weights
    model: float = 52 * MB  # bytes that each worker reads from the storage before its first job
    portrait: float = 0.09  # each job has another one
    motion: float = 0.038  # per second of video
    draw: float = 1.06  # per second of video; a GPU's share is not measured: give --draw
    encode: float = 0.05  # core seconds per second of video, beside the drawing
    cores: float = 1.0  # that a worker has for the encoder
    mark: float = 0.03  # per second of video
    read: float = 0.4 * MB  # bytes of portrait and recording
    write: float = 0.19 * MB  # bytes of a job's video
    storage: float = 1000 * MB  # bytes per second, all workers together
    latency: float = 0.005  # of each file opened on the storage; some six in a job
    driver: float = 0.004  # per job, one after another: results file, record, next job
    spread: float = 0.3  # of the lengths of jobs: uniform within 1 +- spread

    def job(self) -> float:
        """Seconds of a mean job while nobody else uses the storage."""
        work = self.seconds * (self.motion + self.mark + max(self.draw, self.encode / self.cores))
        return self.portrait + work + 6 * self.latency + (self.read + self.write) / self.storage


def simulate(cluster: Cluster, seed: int = 0) -> dict:
    """Jobs per second, and how busy workers, storage and driver were, from start to the last job's end.

    Storage and driver serve one after another, in the order in which they are asked.
    """
    rng = random.Random(seed)
    storage = driver = busy = 0.0
    idle = [(0.0, number, True) for number in range(cluster.workers)]
    heapq.heapify(idle)
    left, end, stored, drove = cluster.jobs, 0.0, 0.0, 0.0
    while left:
        now, number, fresh = heapq.heappop(idle)
        driver = max(driver, now) + cluster.driver
        drove += cluster.driver
        size = (cluster.model if fresh else 0) + cluster.read + cluster.write
        storage = max(storage, driver) + size / cluster.storage
        stored += size / cluster.storage
        factor = 1 + cluster.spread * (2 * rng.random() - 1)
        pure = cluster.job() - (cluster.read + cluster.write) / cluster.storage
        work = pure * factor + (cluster.start if fresh else 0)
        busy += pure * factor
        end = max(end, storage + work)
        heapq.heappush(idle, (storage + work, number, False))
        left -= 1
    return {
        "workers": cluster.workers,
        "jobs_per_second": round(cluster.jobs / end, 2),
        "seconds": round(end, 1),
        "workers_busy": round(busy / end / cluster.workers, 3),
        "storage_busy": round(stored / end, 3),
        "driver_busy": round(drove / end, 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the given cluster, then what changes when one thing does."""
    parser = argparse.ArgumentParser(prog="python -m scripts.simulate_cluster", description=__doc__.splitlines()[0])
    for name in ("workers", "jobs"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Cluster, name))
    for name in ("seconds", "draw", "storage", "driver", "cores"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Cluster, name), help="default: %(default)s")
    base = Cluster(**vars(parser.parse_args(argv)))
    cases = {
        "as given": base,
        "one worker": replace(base, workers=1, jobs=max(1, base.jobs // base.workers)),
        "storage of 100 MB/s": replace(base, storage=100 * MB),
        "driver of 40 ms a job": replace(base, driver=0.04),
        "eight workers share a core for encoding": replace(base, cores=0.125),
        "jobs of 1 second": replace(base, seconds=1.0),
        "two jobs per worker": replace(base, jobs=2 * base.workers),
    }
    for name, cluster in cases.items():
        print(json.dumps({"case": name, **simulate(cluster)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
