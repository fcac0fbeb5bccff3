"""What this machine offers and what a job took of it: device, the quicker number format, memory, time."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import sys
import time
from collections.abc import Callable

import torch

from anitalker.config import InputError

FRAMES = 8  # drawn at once where nothing else is known
MOST_FRAMES, FRAME_MEMORY = 64, 2**28  # on an NVIDIA card: at most, and bytes for one of 256x256 with all of its layers
KEPT, LARGEST, ROOM = 2**28, 2**25, 2**26  # bytes: of free memory, of one block, asked for at once; see `keep_memory`
FASTER = 0.8  # share of the usual way's time that another may need at most: a tie keeps what is exact, or torch's own


def choose_device(name: str) -> torch.device:
    """auto (cuda, mps, cpu: the first that is here), or the named one; InputError if it is not here."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, found in here.items() if found))
    if name not in here:
        raise InputError(f"device is {name!r}; allowed are auto, {', '.join(here)}")
    if not here[name]:
        found = ", ".join(kind for kind, is_here in here.items() if is_here)
        raise InputError(f"device {name!r} is not usable on this machine; usable are auto, {found}")
    return torch.device(name)


def frames_at_once(device: torch.device, asked: int | None = None) -> int:
    """How many frames are drawn at once: as asked for, else on an NVIDIA card what half of its free memory holds."""
    if asked is not None:
        return asked
    if device.type != "cuda":
        return FRAMES
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST_FRAMES, free // 2 // FRAME_MEMORY))


def draws_in_bfloat16(device: torch.device, channels: int) -> bool:
    """Whether the decoder shall use bfloat16: on processors where it is clearly faster, on NVIDIA cards that have it
    (never tried on one); other devices stay exact."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _faster_in_bfloat16(channels)


@functools.cache
def _faster_in_bfloat16(channels: int) -> bool:
    """Tried once per process on the layer that costs most, some 50 ms."""
    layer = torch.nn.Conv2d(2 * channels, channels, 3, padding=1)
    x = torch.zeros(1, 2 * channels, 128, 128).contiguous(memory_format=torch.channels_last)

    def drawn(low: bool) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            torch.nn.functional.silu(layer(x))

    return is_faster(lambda: drawn(True), lambda: drawn(False), 6)


def is_faster(one: Callable[[], object], other: Callable[[], object], turns: int) -> bool:
    """Whether one() takes at most FASTER of other()'s time by one thread: both in turn, and the quickest of each
    counts, which other programs and threads that spin seldom touch."""
    seconds, threads = dict.fromkeys((one, other), math.inf), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(turns):
            for work in seconds:
                start = time.perf_counter()
                work()
                seconds[work] = min(seconds[work], time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return seconds[one] < FASTER * seconds[other]


def tune_malloc() -> bool:
    """Let the C library keep what a frame has freed for the next one; whether it does.

    glibc often gives free memory of threads other than the main one back to the system: up to 5000 page faults and 10
    to 25 ms of system time a frame. Other libraries, and whoever has set its environment variables, are left alone.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    trim, top, separate = -1, -2, -3  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD of malloc.h
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none
        return False
    return all([change(trim, KEPT), change(top, ROOM), change(separate, LARGEST)])


def peak_memory() -> float | None:
    """The largest resident memory of this process so far in MiB; None on Windows."""
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":  # where ru_maxrss begins with what the parent process had
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 2**10
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 2**10  # bytes on macOS, KiB elsewhere


class Clock:
    """Seconds per stage of a job: call it with the stage's name when the stage ends."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.stages[stage], self._last = round(now - self._last, 3), now

    def total(self) -> float:
        """Seconds since the job began."""
        return time.perf_counter() - self._start
