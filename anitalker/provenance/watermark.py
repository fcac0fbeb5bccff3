"""The invisible watermark: a faint keyed pattern in the brightness of every frame, and the search for it.

The pattern is a tile of T x T cells, repeated: equal energy in a ring of spatial frequencies, phases drawn from a key
(spread spectrum, Cox et al. 1997). It stands still, so that nothing flickers and a codec spends bits on it. It is found
by phase correlation (Kuglin and Hines 1975) over scales, mirror images and shifts; the original is not needed.

Letters: T cells of a tile, H x W pixels of a frame, n frequencies in the ring, z score in standard deviations.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

KEY = b"anitalker watermark 1"  # public: the mark says what a file is, it does not prove it
T = 128
RING = (0.05, 0.17)  # cycles per cell: finer is lost at half size, coarser shows
WHOLE = 512  # up to this short side [pixels] a cell is one pixel; larger pictures have larger cells
FLAT, RISE, BUSY = 0.9, 0.12, 1.9  # strength [grey levels, rms]: flat areas, per level of detail around, at most
SCALES = np.geomspace(0.4, 2.2, 427)  # pixels per cell that the search tries, 0.4% apart
PADDED = 2048  # side of the transform: four times the picture, so that neighbouring bins may be interpolated
LONGEST = 768  # pixels of the reduced picture that the search looks at
FOUND = 7.0  # z of a find
BAND = 256  # rows whose running sums are held at once
# Without the mark the n phases against the key's are uniform, whatever the picture: P(z > t) <= exp(-t^2/2) for each
# of 2 x 427 x T^2 places tried. By the normal distribution it is some twenty times rarer.
FALSE_ALARM = 2 * len(SCALES) * T * T * math.exp(-(FOUND**2) / 2)


@dataclass(frozen=True)
class Finding:
    """score: z of the best place; scale: pixels per cell there, of the picture reduced to a short side of 512."""

    found: bool
    score: float
    scale: float
    mirrored: bool


class Marker:
    """Marks frames of one video: uint8 [H,W,3] -> uint8 [H,W,3]. Strength follows the detail of the first frame."""

    def __init__(self) -> None:
        self._more = self._less = self._room = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The marked frame, a new array; above 42 dB from the given one."""
        if self._more is None:
            self._prepare(frame)
        marked = np.minimum(frame, self._room)
        marked += self._more
        np.maximum(marked, self._less, out=marked)
        marked -= self._less
        return marked

    def _prepare(self, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        tile = pattern(max(1.0, min(height, width) / WHOLE))
        side = len(tile)
        mark = np.tile(tile, (-(-height // side), -(-width // side)))[:height, :width]
        mark *= strength(grey(frame), 9 * side // T | 1)
        mark = np.repeat(np.rint(mark).astype(np.int8)[..., None], 3, axis=2)
        self._more, self._less = mark.clip(0).astype(np.uint8), (-mark).clip(0).astype(np.uint8)
        self._room = 255 - self._more


def grey(frame: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3] -> brightness, float32 [H,W]."""
    return frame @ np.array([0.299, 0.587, 0.114], np.float32)


def strength(picture: np.ndarray, window: int) -> np.ndarray:
    """Brightness [H,W] -> rms of the mark [H,W], which detail within `window` pixels hides."""
    detail = picture - mean(picture, window)
    around = np.sqrt(mean(detail * detail, window).clip(0))
    return mean((FLAT + RISE * around).clip(None, BUSY), window)


def mean(picture: np.ndarray, window: int) -> np.ndarray:
    """Mean of a float32 [H,W] over window x window pixels (odd), mirrored at the borders. Ours, because importing
    scipy.ndimage takes a quarter of a second; band by band, so that the float64 sums of large pictures stay small."""
    for _ in range(2):  # along the rows, turned; along the columns, turned back
        bands = np.array_split(picture, -(-len(picture) // BAND))
        picture = np.concatenate([_running_mean(band, window) for band in bands]).T
    return np.ascontiguousarray(picture)


def _running_mean(rows: np.ndarray, window: int) -> np.ndarray:
    sums = np.pad(rows, ((0, 0), (window // 2 + 1, window // 2)), "symmetric").cumsum(1, dtype=np.float64)
    return ((sums[:, window:] - sums[:, :-window]) / window).astype(np.float32)


@functools.cache
def spectrum() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns [n] of the ring's upper half (columns > 0) and the key's phases there, complex [n] of size 1."""
    rows, columns = np.meshgrid(np.arange(-T // 2, T // 2), np.arange(1, T // 2), indexing="ij")
    radius = np.hypot(rows, columns) / T
    inside = (radius >= RING[0]) & (radius <= RING[1])
    rows, columns = rows[inside], columns[inside]
    # Not numpy's generator: its stream may change between versions, and old videos shall be found.
    numbers = np.frombuffer(hashlib.shake_256(KEY).digest(4 * len(rows)), "<u4")
    return rows, columns, np.exp(2j * np.pi * numbers / 2**32)


def pattern(scale: float) -> np.ndarray:
    """One tile at `scale` pixels per cell, float32 [round(scale T)] squared, rms 1."""
    rows, columns, phases = spectrum()
    side = round(scale * T)
    half = np.zeros((side, side // 2 + 1), np.complex128)
    half[rows, columns] = phases
    tile = np.fft.irfft2(half, (side, side))
    return (tile / tile.std()).astype(np.float32)


def find(frames: Iterable[np.ndarray]) -> Finding:
    """Look for the mark in frames, uint8 [H,W,3] of one size; one is enough, more make it surer."""
    total = None
    for frame in frames:
        one = residual(reduced(frame))
        total = one if total is None else total + one
    return Finding(False, 0.0, 1.0, False) if total is None else search(total)


def reduced(frame: np.ndarray) -> np.ndarray:
    """Brightness [h,w] with a short side of at most WHOLE, the middle of what is longer than LONGEST."""
    from PIL import Image

    picture = grey(frame)
    short = min(picture.shape)
    if short > WHOLE:
        size = [round(side * WHOLE / short) for side in picture.shape[::-1]]
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    top, left = (max(0, side - LONGEST) // 2 for side in picture.shape)
    return picture[top : top + LONGEST, left : left + LONGEST]


def residual(picture: np.ndarray) -> np.ndarray:
    """What a pixel has and its surroundings have not, over its variance there: edges weigh little."""
    detail = picture - mean(picture, 9)
    return detail / (mean(detail * detail, 9) + 4)  # 4: noise of codecs [grey levels squared]


def search(total: np.ndarray) -> Finding:
    """The best place of the pattern in a residual [h,w]."""
    from scipy import fft

    rows, columns, phases = spectrum()
    padded = np.zeros((PADDED, PADDED), np.float32)
    height, width = total.shape
    padded[:height, :width] = total
    # The middle comes to the corner: phases then change slowly from bin to bin.
    plane = fft.rfft2(np.roll(padded, (-(height // 2), -(width // 2)), (0, 1)))
    best = Finding(False, 0.0, 1.0, False)
    for mirrored in (False, True):
        for scales in np.array_split(SCALES, 16):
            step = (PADDED / T / scales)[:, None]
            seen = _between(plane, (-rows if mirrored else rows) * step, columns * step)
            if mirrored:  # f(-x) has at (-row, column) the conjugate of what f has at (row, column)
                seen = seen.conj()
            half = np.zeros((len(scales), T, T // 2 + 1), np.complex64)
            half[:, rows, columns] = seen / np.maximum(np.abs(seen), 1e-20) * phases.conj()
            peaks = fft.irfft2(half, (T, T)).max((1, 2)) * (T * T / 2 / math.sqrt(len(rows) / 2))
            if (score := float(peaks.max())) > best.score:
                best = Finding(score >= FOUND, score, float(scales[peaks.argmax()]), mirrored)
    return best


def _between(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values of a half plane of frequencies [P,P/2+1] at fractional places, linearly between the four bins around."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    upper = plane[top, left] * (1 - right) + plane[top, left + 1] * right
    lower = plane[top + 1, left] * (1 - right) + plane[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down
