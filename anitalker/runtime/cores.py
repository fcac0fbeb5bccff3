"""The processor's cores. Imports nothing heavy."""

from __future__ import annotations

import os


def count_cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
