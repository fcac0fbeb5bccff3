"""Mark a video as synthetic while it is written: filters for its frames, and a signature at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from anitalker.provenance.credentials import Generator, SigningIdentity, sign_video, signing_identity
from anitalker.provenance.label import Label
from anitalker.provenance.watermark import Watermarker

FrameFilter = Callable[[np.ndarray], np.ndarray]  # uint8 [H,W,3] -> uint8 [H,W,3]
Finish = Callable[[Path, Path, str], None]  # written file, target file, title of the video


def frame_filters(width: int, height: int, label: bool, watermark: bool) -> tuple[FrameFilter, ...]:
    """Return the filters for the frames of one video, in their order: the visible label, then the watermark."""
    filters: list[FrameFilter] = []
    if label:
        filters.append(Label(width, height))
    if watermark:
        filters.append(Watermarker())
    return tuple(filters)


def signing_step(generator: Generator) -> Finish | None:
    """Return the step that signs a written MP4 with credentials that name `generator`.

    None, and a warning, where c2pa-python cannot be used.
    """
    identity = signing_identity()
    if identity is None:
        return None
    return partial(_sign, generator=generator, identity=identity)


def _sign(written: Path, target: Path, title: str, generator: Generator, identity: SigningIdentity) -> None:
    sign_video(written, target, generator, identity, title)
