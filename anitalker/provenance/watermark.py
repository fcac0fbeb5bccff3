"""The invisible watermark: a faint keyed pattern in the brightness of every frame, with an identifier of 64 bits.

The pattern is a tile of T x T cells, repeated: equal energy in a ring of spatial frequencies, phases drawn from a key
(spread spectrum, Cox et al. 1997). Each phase is turned by THETA one way or the other: one bit of the error-corrected
identifier, repeated over the ring. The pattern is the same in every frame, so that nothing flickers and codecs keep it.
`watermark_search` detects it; the original is not needed.

Letters: T cells of a tile, H x W pixels of a frame, n frequencies in the ring.
"""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass

import numpy as np

from anitalker.provenance import payload

T = 128  # cells


@dataclass(frozen=True)
class Key:
    """What the phases are drawn from, and the ring of frequencies in cycles per cell.

    The seed is public: the mark says what a file is, it proves nothing.
    """

    seed: bytes
    ring: tuple[float, float]
    has_identifier: bool


# Finer patterns are lost at half size, coarser ones drown in the picture.
KEY = Key(b"anitalker watermark 2", (0.03, 0.16), True)
OLD_KEY = Key(b"anitalker watermark 1", (0.05, 0.17), False)  # of versions before 0.2: still found, no longer written
THETA = math.radians(44)  # cos of it serves the search, sin of it the identifier
UNSCALED_SIDE = 512  # pixels: up to this short side a cell is one pixel; larger pictures have larger cells
# Grey levels, rms, of the mark and of the detail around it, which hides a stronger one; 1.6 is seen on a plain wall.
MIN_STRENGTH, STRENGTH_PER_DETAIL = 1.05, 0.2
MAX_DETAIL = 6.0  # grey levels of a single pixel
MAX_RMS = 255 / 10 ** (42.3 / 20)  # of the mark in a whole frame: a PSNR of 42.3 dB
BAND_ROWS = 256  # rows whose running sums are held at once


_SignedMark = tuple[np.ndarray, np.ndarray, np.ndarray]  # uint8 [H,W,3] each, see Watermarker._prepare


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
        plus, minus, headroom = self._mark
        marked = np.minimum(frame, headroom)
        marked += plus
        np.maximum(marked, minus, out=marked)
        marked -= minus
        return marked

    def _prepare(self, frame: np.ndarray) -> _SignedMark:
        """Return the positive and the negative part of the mark, and 255 minus the positive one."""
        height, width = frame.shape[:2]
        phases = spectrum(KEY)[2] * np.exp(1j * THETA * chips(self.identifier))
        tile = pattern(max(1.0, min(height, width) / UNSCALED_SIDE), KEY, phases)
        side = len(tile)
        mark = np.tile(tile, (-(-height // side), -(-width // side)))[:height, :width]
        mark *= strength(luma(frame), 9 * side // T | 1)
        mark = np.repeat(np.rint(mark).astype(np.int8)[..., None], 3, axis=2)
        plus, minus = mark.clip(0).astype(np.uint8), (-mark).clip(0).astype(np.uint8)
        return plus, minus, 255 - plus


def luma(frame: np.ndarray) -> np.ndarray:
    """Compute the brightness, float32 [H,W], of a frame, uint8 [H,W,3]."""
    return frame @ np.array([0.299, 0.587, 0.114], np.float32)


def strength(picture: np.ndarray, window: int) -> np.ndarray:
    """Compute the rms [H,W] of the mark from brightness [H,W] and the detail within `window` pixels."""
    # An edge hides less than texture of the same deviation, and its surroundings hide nothing.
    detail = (picture - box_mean(picture, window)).clip(-MAX_DETAIL, MAX_DETAIL)
    local_rms = np.sqrt(box_mean(detail * detail, window).clip(0))
    wanted = box_mean(MIN_STRENGTH + STRENGTH_PER_DETAIL * local_rms, window)
    # Weaker where the whole would be too strong, but not where little detail hides it.
    plain, strong = (float(np.mean(values * values)) for values in (wanted.clip(None, MAX_RMS), wanted))
    excess = max(0.0, strong - MAX_RMS**2) / max(strong - plain, 1e-9)
    return wanted - min(excess, 1.0) * (wanted - wanted.clip(None, MAX_RMS))


def box_mean(picture: np.ndarray, window: int) -> np.ndarray:
    """Compute the mean of a float32 [H,W] over window x window pixels (odd), mirrored at the borders.

    In place of scipy.ndimage.uniform_filter, whose import takes a quarter of a second; band by band, so that the
    float64 sums of large pictures stay small.
    """
    for _ in range(2):  # along the rows, transposed; along the columns, transposed back
        bands = np.array_split(picture, -(-len(picture) // BAND_ROWS))
        picture = np.concatenate([_running_mean(band, window) for band in bands]).T
    return np.ascontiguousarray(picture)


def _running_mean(rows: np.ndarray, window: int) -> np.ndarray:
    sums = np.pad(rows, ((0, 0), (window // 2 + 1, window // 2)), "symmetric").cumsum(1, dtype=np.float64)
    return ((sums[:, window:] - sums[:, :-window]) / window).astype(np.float32)


@functools.cache
def spectrum(key: Key) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows and columns [n] of the half of the ring with columns > 0, and the phases of the key there.

    The phases are complex [n] of magnitude 1.
    """
    rows, columns = np.meshgrid(np.arange(-T // 2, T // 2), np.arange(1, T // 2), indexing="ij")
    radius = np.hypot(rows, columns) / T
    inside = (radius >= key.ring[0]) & (radius <= key.ring[1])
    rows, columns = rows[inside], columns[inside]
    # Not numpy's generator: its stream may change between versions, and the marks of old videos must be detected.
    numbers = np.frombuffer(hashlib.shake_256(key.seed).digest(4 * len(rows)), "<u4")
    return rows, columns, np.exp(2j * np.pi * numbers / 2**32)


@functools.cache
def chip_bits() -> np.ndarray:
    """Return which bit of the code word each frequency [n] of KEY carries: every bit is spread over the ring."""
    count = len(spectrum(KEY)[0])
    numbers = np.frombuffer(hashlib.shake_256(KEY.seed + b", order").digest(4 * count), "<u4")
    return np.argsort(np.argsort(numbers, kind="stable"), kind="stable") % payload.CODE_BITS


def chips(identifier: str) -> np.ndarray:
    """Return the signs [n], 1 for a 0 and -1 for a 1, that an identifier gives the frequencies of KEY."""
    return 1.0 - 2.0 * payload.encode(identifier)[chip_bits()]


def pattern(scale: float, key: Key, phases: np.ndarray) -> np.ndarray:
    """Make a tile at `scale` pixels per cell: float32 [S,S] with S = round(scale T) and rms 1.

    phases: complex [n], of magnitude 1, at the frequencies of the key.
    """
    rows, columns, _ = spectrum(key)
    side = round(scale * T)
    half = np.zeros((side, side // 2 + 1), np.complex128)
    half[rows, columns] = phases
    tile = np.fft.irfft2(half, (side, side))
    return (tile / tile.std()).astype(np.float32)
