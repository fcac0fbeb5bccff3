"""What the machine is: processor, cores, device and versions, which measured times depend on."""

from __future__ import annotations

import os
import platform
from typing import TypedDict

import torch

from anitalker.runtime.cores import count_cores


class MachineFacts(TypedDict):
    """The machine and the process.

    cores: of the machine; usable_cores: those that this process may run on; threads: of one torch operation;
    instructions: the widest that torch uses, e.g. AVX512; device: cpu, cuda or mps; device_name: of the graphics card,
    else of the processor; load: mean number of processes that wanted a core in the last minute, None on Windows.
    """

    system: str
    processor: str
    cores: int | None
    usable_cores: int
    threads: int
    instructions: str
    device: str
    device_name: str
    python: str
    torch: str
    load: float | None


def describe_machine(device: torch.device) -> MachineFacts:
    """Describe the machine, as a process sees it that computes on `device`."""
    processor = processor_name()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "cores": os.cpu_count(),
        "usable_cores": count_cores(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def processor_name() -> str:
    """The processor's own name where Linux tells it, else what Python knows: the kind of processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name" and value.strip():
                    return value.strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
