"""What a live face asks of its networks: motion from speech, and frames from motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from anitalker.config import RenderOptions
from anitalker.pipeline import Portrait, Talker
from anitalker.streaming.talker import StreamingTalker

FrameFilter = Callable[[np.ndarray], np.ndarray]  # uint8 [H,W,3] -> uint8 [H,W,3]


class PortraitDrawing:
    """Draws a portrait's frames in this process, motion [1,M] of each face -> uint8 [H,W,3]; from any thread.

    filters: applied to every frame (label, watermark).
    """

    def __init__(
        self, talker: Talker, portrait: Portrait, options: RenderOptions, filters: tuple[FrameFilter, ...]
    ) -> None:
        self._talker, self._portrait, self._filters = talker, portrait, filters
        self._options = replace(options, batch_size=1)

    def __call__(self, motions: list[Tensor]) -> np.ndarray:
        """Draw a frame."""
        picture = next(self._talker.draw(self._portrait, motions, self._options))
        for apply_filter in self._filters:
            picture = apply_filter(picture)
        return picture


class FaceNetworks:
    """Makes a face's motion and draws its frames, in this process."""

    def __init__(self, stream: StreamingTalker, filters: tuple[FrameFilter, ...]) -> None:
        self.motion = stream.motion
        self.draw = PortraitDrawing(stream.talker, stream.portrait, stream.options, filters)

    def close(self) -> None:
        """Nothing is left behind."""
