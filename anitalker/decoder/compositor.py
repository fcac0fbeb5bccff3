"""Layers of the decoder -> frames in the pixels of one crop region. All frames are composed here.

Letters: B frames, h x w pixels of the part of the crop region that lies in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from anitalker.decoder.decoder import Layers, compose
from anitalker.decoder.detail import draw_frames, prepare_detail
from anitalker.decoder.viewport import Viewport
from anitalker.runtime.transfer import to_pictures

MAX_DETAIL_PIXELS = 2**22  # that are drawn, 2048 a side; beyond, carrying detail would take gigabytes
MAX_COMPOSED_PIXELS = 2**21  # composed at a time: large portraits go frame by frame
MARGIN = 8  # pixels around those that are seen; the filters of `detail` reach no further


class Compositor:
    """Composes frames over one crop region, source [1,3,h,w] in [-1,1], or over the part of it that is seen.

    viewport: what `source` shows of the region, None: all of it; seen: rows and columns of the region that frames show,
    None: all of `source`. Between the two, MARGIN pixels repeat the picture's border.
    sharpen: carry the region's high frequencies along the flow separately (`detail`), and return its own pixels, equal
    to the bit, where nothing moves. Above MAX_DETAIL_PIXELS frames are composed without it.
    """

    def __init__(
        self,
        source: Tensor,
        sharpen: bool = True,
        viewport: Viewport | None = None,
        seen: tuple[slice, slice] | None = None,
    ) -> None:
        self.source, self.viewport = source, viewport or Viewport.whole(source.shape[-2], source.shape[-1])
        self.seen = self.viewport.inner(*(seen or self.viewport.box))
        pixels = source[0, 0].numel()
        sharpen = sharpen and pixels <= MAX_DETAIL_PIXELS
        self.detail = prepare_detail(self.source, self.viewport) if sharpen else None
        self.batch_size = max(1, MAX_COMPOSED_PIXELS // (2 * pixels if sharpen else pixels))

    @torch.inference_mode()
    def frames(self, layers: Layers) -> Iterator[np.ndarray]:
        """Layers of B frames -> what is seen of the crop region in each of them, uint8 [h,w,3]."""
        rows, columns = self.seen
        for start in range(0, len(layers.flow), self.batch_size):
            yield from to_pictures(self._compose(layers[start : start + self.batch_size])[:, :, rows, columns])

    def _compose(self, layers: Layers) -> Tensor:
        if self.detail is None:
            return compose(self.source, layers, self.viewport)
        return draw_frames(self.detail, layers)
