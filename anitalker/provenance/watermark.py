"""The invisible watermark: a faint keyed pattern in the brightness of every frame, with an identifier of 64 bits.

The pattern is a tile of T x T cells, repeated: equal energy in a ring of spatial frequencies, phases drawn from a key
(spread spectrum, Cox et al. 1997). Each phase is turned by an angle one way or the other: one bit of the
error-corrected identifier, repeated over the ring. The pattern is the same in every frame, so that nothing flickers and
codecs keep it.
`watermark_search` detects it; the original is not needed.

Letters: T cells of a tile, H x W pixels of a frame, n frequencies in the ring.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anitalker.provenance import convolutional_code, payload


@dataclass(frozen=True)
class Code:
    """An error correction of the identifier: how many bits a code word has, how it is made, how it is read."""

    bits: int
    encode: Callable[[str], np.ndarray]  # 16 hexadecimal digits -> uint8 [bits]
    decode: Callable[[np.ndarray, float], str | None]  # soft values [bits], copies of each; see `payload.decode`


@dataclass(frozen=True)
class Key:
    """What the phases are drawn from, the tile, the ring of frequencies in cycles per cell, and the code in it.

    The seed is public: the mark says what a file is, it proves nothing. angle: by which the bits turn the phases; its
    cosine serves the search, its sine the identifier. code: None where there is no identifier.
    """

    seed: bytes
    tile: int  # T cells
    ring: tuple[float, float]
    angle: float = 0.0
    code: Code | None = None


# Finer patterns are lost at half size and strong compression, coarser ones drown in the picture.
CONVOLUTIONAL = Code(convolutional_code.CODE_BITS, convolutional_code.encode, convolutional_code.decode)
KEY = Key(b"anitalker watermark 3", 256, (0.04, 0.12), math.radians(57), CONVOLUTIONAL)
# No longer written, still found and read: of the first months of 0.2, and of versions before.
REED_SOLOMON = Code(payload.CODE_BITS, payload.encode, payload.decode)
SECOND_KEY = Key(b"anitalker watermark 2", 128, (0.03, 0.16), math.radians(44), REED_SOLOMON)
FIRST_KEY = Key(b"anitalker watermark 1", 128, (0.05, 0.17))
KEYS = (KEY, SECOND_KEY, FIRST_KEY)
UNSCALED_SIDE = 512  # pixels: up to this short side a cell is one pixel; larger pictures have larger cells
# Grey levels, rms, of the mark and of the detail around it, which hides a stronger one. Small pictures, of a short
# side of SMALL_SIDE pixels or less, lose more of it when they are made smaller; 1.6 is seen on a plain wall.
MIN_STRENGTH, SMALL_MIN_STRENGTH, STRENGTH_PER_DETAIL = 1.05, 1.3, 0.2
SMALL_SIDE = 256
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
        """Return the marked frame, a new array with a PSNR of more than 42 dB."""
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
        phases = marked_phases(KEY, self.identifier)
        tile = pattern(max(1.0, min(height, width) / UNSCALED_SIDE), KEY, phases)
        side = len(tile)
        mark = np.tile(tile, (-(-height // side), -(-width // side)))[:height, :width]
        mark *= strength(luma(frame), 9 * side // KEY.tile | 1)
        mark *= min(1.0, MAX_RMS / float(np.sqrt(np.mean(mark * mark))))  # the part of a tile may be stronger than all
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
    largeness = (min(picture.shape) - SMALL_SIDE) / (UNSCALED_SIDE - SMALL_SIDE)
    least = SMALL_MIN_STRENGTH + (MIN_STRENGTH - SMALL_MIN_STRENGTH) * min(max(largeness, 0.0), 1.0)
    wanted = box_mean(least + STRENGTH_PER_DETAIL * local_rms, window)
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
    half = key.tile // 2
    rows, columns = np.meshgrid(np.arange(-half, half), np.arange(1, half), indexing="ij")
    radius = np.hypot(rows, columns) / key.tile
    inside = (radius >= key.ring[0]) & (radius <= key.ring[1])
    rows, columns = rows[inside], columns[inside]
    # Not numpy's generator: its stream may change between versions, and the marks of old videos must be detected.
    numbers = np.frombuffer(hashlib.shake_256(key.seed).digest(4 * len(rows)), "<u4")
    return rows, columns, np.exp(2j * np.pi * numbers / 2**32)


@functools.cache
def chip_bits(key: Key) -> np.ndarray:
    """Return which bit of the code word each frequency [n] of a key carries: every bit is spread over the ring."""
    assert key.code
    count = len(spectrum(key)[0])
    numbers = np.frombuffer(hashlib.shake_256(key.seed + b", order").digest(4 * count), "<u4")
    return np.argsort(np.argsort(numbers, kind="stable"), kind="stable") % key.code.bits


def marked_phases(key: Key, identifier: str) -> np.ndarray:
    """Return the phases, complex [n] of magnitude 1, of a key that carries an identifier."""
    assert key.code
    signs = 1.0 - 2.0 * key.code.encode(identifier)[chip_bits(key)]
    return spectrum(key)[2] * np.exp(1j * key.angle * signs)


def pattern(scale: float, key: Key, phases: np.ndarray) -> np.ndarray:
    """Make a tile at `scale` pixels per cell: float32 [P,P] with P = round(scale T) and rms 1.

    phases: complex [n], of magnitude 1, at the frequencies of the key.
    """
    rows, columns, _ = spectrum(key)
    side = round(scale * key.tile)
    half = np.zeros((side, side // 2 + 1), np.complex128)
    half[rows, columns] = phases
    tile = np.fft.irfft2(half, (side, side))
    return (tile / tile.std()).astype(np.float32)
