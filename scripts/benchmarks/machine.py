"""What the machine gives at best, and a stopwatch that counts processor time beside the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

PEAKS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Times:
    """Seconds by the clock and of the processor, one of each per round."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self, work: Callable[[], object]) -> object:
        """One more round; the result of `work`."""
        clock, processor = time.perf_counter(), time.process_time()
        result = work()
        self.clock.append(time.perf_counter() - clock)
        self.processor.append(time.process_time() - processor)
        return result

    def facts(self, units: float = 1.0) -> dict[str, float]:
        """Medians per unit."""
        return {"seconds": float(np.median(self.clock)) / units, "cpu": float(np.median(self.processor)) / units}


def by_turns(works: dict[str, Callable[[], object]], rounds: int) -> tuple[dict[str, Times], dict[str, object]]:
    """Run each work once a round, one after the other -> times and last results by name."""
    times, results = {name: Times() for name in works}, {}
    for _ in range(rounds):
        for name, work in works.items():
            results[name] = times[name].run(work)
    return times, results


def ratio(theirs: Times, ours: Times, share: float = 1.0) -> dict[str, dict[str, float]]:
    """How many times faster: median, least and most over the rounds, by the clock and in processor time. share: of the
    job that ours did, what theirs did."""
    clock = np.array(theirs.clock) / np.array(ours.clock) / share
    processor = np.array(theirs.processor) / np.array(ours.processor) / share
    return {
        kind: {"median": float(np.median(values)), "least": float(values.min()), "most": float(values.max())}
        for kind, values in (("clock", clock), ("cpu", processor))
    }


@torch.inference_mode()
def peaks(device: torch.device, rounds: int = 5) -> dict[str, dict[str, float]]:
    """GFLOP/s of a large product and of a wide 3x3 convolution, the best of `rounds`: format -> both."""
    speeds = {}
    for name, dtype in PEAKS.items():
        a = torch.randn(1536, 1536, device=device, dtype=dtype)
        x = torch.randn(1, 256, 64, 64, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        work = {
            "product": (lambda a=a: a @ a, 2 * 1536**3),
            "convolution": (lambda x=x, w=w: torch.nn.functional.conv2d(x, w, padding=1), 2 * 64**2 * 256**2 * 9),
        }
        speeds[name] = {kind: flop / _best(run, device, rounds) / 1e9 for kind, (run, flop) in work.items()}
    return speeds


def _best(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Seconds of the quickest round."""
    least = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        least = min(least, time.perf_counter() - start)
    return least


def facts() -> dict:
    """What the numbers belong to: cores, threads, versions, and how busy the machine is."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
