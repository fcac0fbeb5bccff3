"""The heap's free pages go back to the system."""

import sys

import numpy as np
import pytest

from anitalker.runtime.memory import trim_heap


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim belongs to glibc")
def test_free_pages_are_returned():
    blocks = [np.ones(10_000) for _ in range(1000)]  # 80 kB each: from the heap
    kept = blocks[::100]
    before = resident()
    del blocks
    trim_heap()
    assert len(kept) == 10 and before - resident() > 40e6
