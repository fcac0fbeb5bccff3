"""Layers of the decoder -> frames in the pixels of one crop region. All frames are composed here.

Letters: B frames, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from anitalker.decoder.decoder import Layers, compose
from anitalker.decoder.detail import draw_frames, prepare_detail
from anitalker.runtime.transfer import to_pictures

MAX_DETAIL_PIXELS = 2**22  # of a crop region, 2048 a side; beyond, carrying detail would take gigabytes
MAX_COMPOSED_PIXELS = 2**21  # composed at a time: large portraits go frame by frame


class Compositor:
    """Composes frames over one crop region, source [1,3,h,w] in [-1,1].

    sharpen: carry the region's high frequencies along the flow separately (`detail`), and return its own pixels, equal
    to the bit, where nothing moves. Regions above MAX_DETAIL_PIXELS are composed without it.
    """

    def __init__(self, source: Tensor, sharpen: bool = True) -> None:
        self.source = source
        pixels = source[0, 0].numel()
        self.detail = prepare_detail(source) if sharpen and pixels <= MAX_DETAIL_PIXELS else None
        self.batch_size = max(1, MAX_COMPOSED_PIXELS // (pixels if self.detail is None else 2 * pixels))

    @torch.inference_mode()
    def frames(self, layers: Layers) -> Iterator[np.ndarray]:
        """Layers of B frames -> the crop region in each of them, uint8 [h,w,3]."""
        for start in range(0, len(layers.flow), self.batch_size):
            yield from to_pictures(self._compose(layers[start : start + self.batch_size]))

    def _compose(self, layers: Layers) -> Tensor:
        if self.detail is None:
            return compose(self.source, layers)
        return draw_frames(self.detail, layers)
