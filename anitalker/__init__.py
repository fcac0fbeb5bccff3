"""AniTalker: one portrait and a speech recording in, a video out in which the portrait speaks.

`anitalker.load` and `anitalker.RenderOptions` are imported when they are first used: importing anitalker loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anitalker.config import RenderOptions
    from anitalker.pipeline import load

__version__ = "0.2.0"
__all__ = ["RenderOptions", "__version__", "load"]


def __getattr__(name: str) -> object:
    """Import a public name on its first use (PEP 562)."""
    if name == "load":
        from anitalker.pipeline import load

        return load
    if name == "RenderOptions":
        from anitalker.config import RenderOptions

        return RenderOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
