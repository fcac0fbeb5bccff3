"""The device of a job, its batch size and number format, and the memory and time that the job takes."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable

import torch

from anitalker.config import InputError

DEFAULT_BATCH_SIZE = 8  # frames, where the device's memory is not known
MAX_BATCH_SIZE = 64  # frames, on an NVIDIA GPU
BYTES_PER_FRAME = 2**28  # of GPU memory, for a frame of 256x256 pixels with all of its layers
MAX_TIME_RATIO = 0.8  # of the usual way's time: in a tie the exact result, or torch's own, is kept


def choose_device(name: str) -> torch.device:
    """The named device; for auto the first of cuda, mps and cpu that is available. InputError if it is not."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    usable = [kind for kind, is_available in available.items() if is_available]
    if name == "auto":
        return torch.device(usable[0])
    if name not in available:
        raise InputError(f"device is {name!r}; allowed are auto, {', '.join(available)}")
    if not available[name]:
        raise InputError(f"device {name!r} is not usable on this machine; usable are auto, {', '.join(usable)}")
    return torch.device(name)


def choose_batch_size(device: torch.device, requested: int | None = None) -> int:
    """Frames that are rendered at once: `requested`, or on an NVIDIA GPU as many as half of its free memory holds."""
    if requested is not None:
        return requested
    if device.type != "cuda":
        return DEFAULT_BATCH_SIZE
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MAX_BATCH_SIZE, free // 2 // BYTES_PER_FRAME))


def draws_in_bfloat16(device: torch.device, channels: int) -> bool:
    """Whether the decoder runs in bfloat16: on CPUs where that is measurably faster, and on NVIDIA GPUs that support it
    (not yet tried on one). Other devices stay in float32. channels: of the decoder's finest convolution.

    Equivalent to `False`, in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _faster_in_bfloat16(channels)


@functools.cache
def _faster_in_bfloat16(channels: int) -> bool:
    """Measured once per process on the most expensive layer, in some 50 ms."""
    layer = torch.nn.Conv2d(2 * channels, channels, 3, padding=1)
    x = torch.zeros(1, 2 * channels, 128, 128).contiguous(memory_format=torch.channels_last)

    def run_layer(bfloat16: bool) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            torch.nn.functional.silu(layer(x))

    return is_faster(lambda: run_layer(True), lambda: run_layer(False), 6)


@functools.cache
@torch.inference_mode()
def bfloat16_is_faster() -> bool:
    """Whether the CPU multiplies five seconds of motion faster in bfloat16, conversion of the weights included."""
    x, weight = torch.zeros(128, 1024), torch.zeros(1024, 1024)
    linear = torch.nn.functional.linear
    return is_faster(lambda: linear(x.bfloat16(), weight.bfloat16()), lambda: linear(x, weight), 16)


def is_faster(candidate: Callable[[], object], baseline: Callable[[], object], rounds: int) -> bool:
    """Whether candidate() takes at most MAX_TIME_RATIO of the time of baseline() on one thread.

    The two run alternately, and the minimum of each over `rounds` counts: other load on the machine seldom affects it.
    """
    seconds, threads = dict.fromkeys((candidate, baseline), math.inf), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(rounds):
            for work in seconds:
                start = time.perf_counter()
                work()
                seconds[work] = min(seconds[work], time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return seconds[candidate] < MAX_TIME_RATIO * seconds[baseline]


def peak_memory() -> float | None:
    """The largest resident memory of this process so far in MiB; None on Windows."""
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":  # ru_maxrss starts from the parent process's value here
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 2**10
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 2**10  # bytes on macOS, KiB elsewhere


def peak_gpu_memory(device: torch.device) -> float | None:
    """The largest memory of tensors on an NVIDIA GPU so far in MiB; None on other devices."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


class Clock:
    """Seconds per stage of a job: call it with the stage's name when the stage ends."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        """Record the seconds since the last stage ended."""
        now = time.perf_counter()
        self.stages[stage], self._last = round(now - self._last, 3), now

    def total(self) -> float:
        """Seconds since the job began."""
        return time.perf_counter() - self._start
