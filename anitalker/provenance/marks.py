"""What marks a video as synthetic while it is written: filters of its frames, and a signature at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from anitalker.provenance.credentials import Generator, SigningIdentity, sign_video, signing_identity
from anitalker.provenance.label import Label
from anitalker.provenance.watermark import Marker

FrameFilter = Callable[[np.ndarray], np.ndarray]  # uint8 [H,W,3] -> uint8 [H,W,3]
Finish = Callable[[Path, Path, str], None]  # the written file, the file to make of it, the title of the video


def frame_filters(width: int, height: int, label: bool, watermark: bool) -> tuple[FrameFilter, ...]:
    """Filters for the frames of one video, in their order: the visible label, then the watermark."""
    return (Label(width, height),) * label + (Marker(),) * watermark


def signature(origin: Generator) -> Finish | None:
    """The step that signs a finished MP4 with credentials of `origin`; None, and a warning, where nothing can sign."""
    identity = signing_identity()
    if identity is None:
        return None
    return partial(_sign, origin=origin, identity=identity)


def _sign(written: Path, target: Path, title: str, origin: Generator, identity: SigningIdentity) -> None:
    sign_video(written, target, origin, identity, title)
