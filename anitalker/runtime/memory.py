"""Memory that is no longer used goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

M_ARENA_MAX = -8  # of mallopt, from malloc.h


def trim_heap() -> None:
    """Return the heap's free pages to the system, in some milliseconds; does nothing where the C library is not glibc.

    glibc keeps what large temporaries leave between smaller blocks: 60 MB after a portrait of 1080 pixels.
    """
    if (trim := _glibc("malloc_trim")) is not None:
        trim(0)


def share_heap() -> None:
    """Let all threads use one heap from now on; does nothing where the C library is not glibc.

    Else each thread that draws keeps a heap of its own: 60 MB more for a video of 1080 pixels, which is no quicker.
    """
    if (set_option := _glibc("mallopt")) is not None:
        set_option(M_ARENA_MAX, 1)


def _glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
