"""Layers of the decoder -> frames in the pixels of one crop region: the one entry to what composes a frame.

Letters: B frames, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from anitalker.decoder.decoder import Layers, compose
from anitalker.decoder.detail import draw_frames, prepare_detail
from anitalker.runtime.transfer import to_host

SHARPENED = 2**22  # pixels of a crop region, 2048 a side; beyond, carrying detail would take gigabytes
PIXELS_AT_ONCE = 2**21  # composed pixels held at a time: large portraits go frame by frame


class Compositor:
    """Composes frames over one crop region, source [1,3,h,w] in [-1,1].

    sharpen: carry the region's high frequencies along the flow by themselves (`detail`), and keep its own pixels to the
    bit where nothing moves; regions above SHARPENED pixels go without.
    """

    def __init__(self, source: Tensor, sharpen: bool = True) -> None:
        self.source = source
        pixels = source[0, 0].numel()
        self.detail = prepare_detail(source) if sharpen and pixels <= SHARPENED else None
        self.at_once = max(1, PIXELS_AT_ONCE // (pixels if self.detail is None else 2 * pixels))

    @torch.inference_mode()
    def frames(self, layers: Layers) -> Iterator[np.ndarray]:
        """The moving region under B frames of layers, uint8 [h,w,3] each."""
        for at in range(0, len(layers.flow), self.at_once):
            yield from to_host(partial(self._compose, layers[at : at + self.at_once]), self.source.device)

    def _compose(self, layers: Layers) -> Tensor:
        if self.detail is None:
            return compose(self.source, layers)
        return draw_frames(self.detail, layers)
