"""Frames from speech that is still arriving: `StreamingTalker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anitalker.streaming.talker import StreamingTalker

__all__ = ["StreamingTalker"]


def __getattr__(name: str) -> object:
    """Import the class when it is first used (PEP 562)."""
    if name == "StreamingTalker":
        from anitalker.streaming.talker import StreamingTalker

        return StreamingTalker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
