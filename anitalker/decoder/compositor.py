"""Layers of the decoder -> pixels of one crop region. All frames in the picture's own pixels are composed here.

Letters: B frames, h x w pixels of the part of the crop region that lies in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from anitalker.decoder.composition import compose_finely
from anitalker.decoder.decoder import Layers
from anitalker.decoder.detail import prepare_detail
from anitalker.decoder.fused_compositor import FusedCompositor
from anitalker.decoder.viewport import Viewport
from anitalker.faces.crop import Crop, crop_pixels, seen_part
from anitalker.faces.paste import Patch
from anitalker.runtime.transfer import to_pictures

MAX_COMPOSED_PIXELS = 2**20  # at a time: large portraits go frame by frame


class Compositor:
    """Composes frames over one crop region, uint8 [h,w,3], or over the part of it that the viewport shows; with alpha,
    [h,w,4], it moves along.

    fused: in one pass over 8-bit pixels; None: on processors, since torch draws faster on other devices.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        viewport: Viewport | None = None,
        device: torch.device | str = "cpu",
        fused: bool | None = None,
    ) -> None:
        detail = prepare_detail(pixels, viewport)
        fused = torch.device(device).type == "cpu" if fused is None else fused
        self._composed = FusedCompositor(detail) if fused else detail.to(device)
        self.batch_size = max(1, MAX_COMPOSED_PIXELS // max(1, pixels.shape[0] * pixels.shape[1]))

    @classmethod
    def of_crop(cls, picture: np.ndarray, crop: Crop, device: torch.device | str) -> Compositor:
        """The compositor over what is seen of a crop in its picture, uint8 [H,W,3 or 4]."""
        seen, side = seen_part(crop), int(crop.side)
        return cls(crop_pixels(picture, crop, seen), Viewport.around(*seen, (side, side)), device)

    @torch.inference_mode()
    def frames(self, layers: Layers) -> Iterator[Patch]:
        """Layers of B frames -> what changes in each of them; its place is that in the viewport."""
        if isinstance(self._composed, FusedCompositor):
            for number in range(len(layers.flow)):
                yield self._composed.draw(layers[number : number + 1])
            return
        for start in range(0, len(layers.flow), self.batch_size):
            for frame in to_pictures(compose_finely(self._composed, layers[start : start + self.batch_size])):
                yield Patch(0, 0, frame)
