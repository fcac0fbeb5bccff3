"""The invisible watermark: a faint keyed pattern in the brightness of every frame, with an identifier of 64 bits.

The pattern is a tile of T x T cells, repeated: equal energy in a ring of spatial frequencies, phases drawn from a key
(spread spectrum, Cox et al. 1997). Each phase is turned by an angle one way or the other: one bit of the
error-corrected identifier, repeated over the ring. The pattern is the same in every frame, so that nothing flickers and
codecs keep it.
`watermark_search` detects it; the original is not needed.

Letters: T cells of a tile, H x W pixels of a frame, n frequencies in the ring.
"""

from __future__ import annotations

import cv2
import numpy as np

from anitalker.provenance import payload
from anitalker.provenance.watermark_key import KEY, marked_phases, pattern, spectrum
from anitalker.provenance.watermark_phases import (
    UNSCALED_SIDE,
    box_mean,
    deviation,
    limited,
    luma,
    reduce_frame,
    residual,
)

# Grey levels, rms, of the mark where there is no detail, and how much more for each grey level of detail around it,
# which hides a stronger one. Of small pictures less is left at half size; more than 1.6 is seen on plain walls.
STRENGTH, SMALL_STRENGTH = (1.05, 0.2), (1.45, 0.15)
SMALL_SIDE = 256  # pixels of the short side up to which pictures are small; from UNSCALED_SIDE on they are large
MAX_DETAIL = 6.0  # grey levels of a single pixel
MAX_RMS = 255 / 10 ** (42.3 / 20)  # of the mark in a whole frame: a PSNR of 42.3 dB
HALVES = 2.0  # weight of the picture at half size, beside it at full size, in the choice of the place


BAND_ROWS = 128  # of a frame at once, so that they stay in the processor's cache
_SignedMark = tuple[np.ndarray, np.ndarray]  # uint8 [H,W,3] each, see Watermarker._prepare


class Watermarker:
    """Marks the frames of a video, uint8 [H,W,3]. The strength follows the detail of the first frame.

    identifier: of the video, 16 hexadecimal digits; None draws one.
    """

    def __init__(self, identifier: str | None = None) -> None:
        self.identifier = identifier or payload.new_identifier()
        self._mark: _SignedMark | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the marked frame, a new array with a PSNR of more than 42 dB; alpha, if it has one, stays as it is."""
        if frame.shape[-1] == 4:
            return np.dstack([self(np.ascontiguousarray(frame[..., :3])), frame[..., 3]])
        if self._mark is None:
            self._mark = self._prepare(frame)
        plus, minus = self._mark
        marked = np.empty_like(frame)
        for start in range(0, len(frame), BAND_ROWS):
            rows = slice(start, start + BAND_ROWS)
            cv2.add(frame[rows], plus[rows], marked[rows])  # both stop at 0 and 255
            cv2.subtract(marked[rows], minus[rows], marked[rows])
        return marked

    def _prepare(self, frame: np.ndarray) -> _SignedMark:
        """Return the positive and the negative part of the mark."""
        height, width = frame.shape[:2]
        scale = max(1.0, min(height, width) / UNSCALED_SIDE)
        rows, columns, _ = spectrum(KEY)
        phases = marked_phases(KEY, self.identifier)
        down, right = _best_place(frame, scale, phases)
        tile = pattern(scale, KEY, phases * np.exp(-2j * np.pi / KEY.tile * (rows * down + columns * right)))
        side = len(tile)
        mark = np.tile(tile, (-(-height // side), -(-width // side)))[:height, :width]
        mark *= strength(luma(frame), 9 * side // KEY.tile | 1)
        mark *= min(1.0, MAX_RMS / float(np.sqrt(np.mean(mark * mark))))  # a part of the tile may be stronger
        mark = np.repeat(np.rint(mark).astype(np.int8)[..., None], 3, axis=2)
        return mark.clip(0).astype(np.uint8), (-mark).clip(0).astype(np.uint8)


def _best_place(frame: np.ndarray, cell: float, phases: np.ndarray) -> tuple[int, int]:
    """Choose where in a frame [H,W,3] the tile begins, in cells down and right: where the picture is most like it.

    The search tries all places, so that this one is free; the picture then helps the mark instead of hiding it. Looked
    at are the frame and its half, in which detail is left that compression keeps. cell: pixels of a cell.
    """
    picture = reduce_frame(frame)
    height, width = (side // 2 * 2 for side in picture.shape)
    half = picture[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    fit = _fit(picture, 1.0, cell, phases) + HALVES * _fit(half, 0.5, cell, phases)
    rows, columns, _ = spectrum(KEY)
    plane = np.zeros((KEY.tile, KEY.tile // 2 + 1), np.complex128)
    plane[rows, columns] = fit
    down, right = np.unravel_index(np.fft.irfft2(plane, (KEY.tile, KEY.tile)).argmax(), (KEY.tile, KEY.tile))
    return int(down), int(right)


def _fit(picture: np.ndarray, scale: float, cell: float, phases: np.ndarray) -> np.ndarray:
    """Compare a reduced picture [h,w] at `scale` pixels per cell with phases [n] of a tile that begins at its corner.

    cell: pixels of a cell in the frame, whose pixels' centres are half of one from its corner.
    Complex [n], of the standard deviation 1 as a whole: the sum of the real parts is the score of the picture as it is.
    """
    rows, columns, _ = spectrum(KEY)
    down, right = ((np.arange(side) + 0.5) / scale - 0.5 / cell for side in picture.shape)  # cells
    all_rows, row = np.unique(rows, return_inverse=True)
    all_columns, column = np.unique(columns, return_inverse=True)
    waves = [np.exp(-2j * np.pi / KEY.tile * np.outer(*pair)) for pair in ((all_rows, down), (right, all_columns))]
    observed = limited((waves[0] @ residual(picture) @ waves[1])[row, column][None], KEY)[0]
    return observed * phases.conj() / deviation(observed)


def strength(picture: np.ndarray, window: int) -> np.ndarray:
    """Compute the rms [H,W] of the mark from brightness [H,W] and the detail within `window` pixels."""
    # An edge hides less than texture of the same deviation, and its surroundings hide nothing.
    detail = (picture - box_mean(picture, window)).clip(-MAX_DETAIL, MAX_DETAIL)
    local_rms = np.sqrt(box_mean(detail * detail, window).clip(0))
    largeness = (min(picture.shape) - SMALL_SIDE) / (UNSCALED_SIDE - SMALL_SIDE)
    least, per_detail = (np.interp(largeness, (0, 1), pair) for pair in zip(SMALL_STRENGTH, STRENGTH, strict=True))
    wanted = box_mean((least + per_detail * local_rms).astype(np.float32), window)
    # Weaker where the whole would be too strong, but not where little detail hides it.
    plain, strong = (float(np.mean(values * values)) for values in (wanted.clip(None, MAX_RMS), wanted))
    excess = max(0.0, strong - MAX_RMS**2) / max(strong - plain, 1e-9)
    return wanted - min(excess, 1.0) * (wanted - wanted.clip(None, MAX_RMS))
