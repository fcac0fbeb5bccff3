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


def ratio(theirs: Times, ours: Times, share: float = 1.0) -> dict[str, dict[str, float]]:
    """How many times faster: median, least and most over the rounds, by the clock and in processor time. share: of the
    job that ours did, what theirs did."""
    pairs = {"clock": (theirs.clock, ours.clock), "cpu": (theirs.processor, ours.processor)}
    made = {name: np.array(a) / np.array(b) / share for name, (a, b) in pairs.items()}
    return {
        k: {"median": float(np.median(v)), "least": float(v.min()), "most": float(v.max())} for k, v in made.items()
    }


@torch.inference_mode()
def peaks(device: torch.device, rounds: int = 5) -> dict[str, dict[str, float]]:
    """GFLOP/s of a large product and of a wide 3x3 convolution, the best of `rounds`: format -> both."""
    found = {}
    for name, dtype in PEAKS.items():
        a = torch.randn(1536, 1536, device=device, dtype=dtype)
        x = torch.randn(1, 256, 64, 64, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        work = {
            "product": (lambda a=a: a @ a, 2 * 1536**3),
            "convolution": (lambda x=x, w=w: torch.nn.functional.conv2d(x, w, padding=1), 2 * 64**2 * 256**2 * 9),
        }
        found[name] = {kind: flop / _best(run, device, rounds) / 1e9 for kind, (run, flop) in work.items()}
    return found


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
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    instructions = torch.backends.cpu.get_cpu_capability()
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "instructions": instructions,
        "load": load,
    }
