"""The heap's free pages go back to the system, and threads share one heap."""

import subprocess
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


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt belongs to glibc")
@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_a_heap(shared):
    """malloc_info lists a <heap> for each; in a process of its own, since heaps that are there stay."""
    code = f"""
import ctypes, threading
from anitalker.runtime.memory import share_heap
if {shared}:
    share_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
threads = [threading.Thread(target=lambda: libc.malloc(3000)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fopen.restype = ctypes.c_void_p
libc.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fflush.argtypes = [ctypes.c_void_p]
output = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, output)
libc.fflush(output)
"""
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heaps = listed.count("<heap ")
    assert heaps == 1 if shared else heaps > 1
