"""The invisible watermark: a faint keyed pattern in the brightness of every frame, and its detector.

The pattern is a tile of T x T cells, repeated: equal energy in a ring of spatial frequencies, phases drawn from a key
(spread spectrum, Cox et al. 1997). It is the same in every frame, so that nothing flickers and codecs keep it. It is
detected by phase correlation (Kuglin and Hines 1975) over scales, mirror images and shifts; the original is not needed.

Letters: T cells of a tile, H x W pixels of a frame, n frequencies in the ring, z score in standard deviations.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

KEY = b"anitalker watermark 1"  # public: the mark says what a file is, it proves nothing
T = 128  # cells
RING = (0.05, 0.17)  # cycles per cell: finer patterns are lost at half size, coarser ones are visible
UNSCALED_SIDE = 512  # pixels: up to this short side a cell is one pixel; larger pictures have larger cells
MIN_STRENGTH, STRENGTH_PER_DETAIL, MAX_STRENGTH = 0.9, 0.12, 1.9  # grey levels, rms, of mark and of detail around it
SCALES = np.geomspace(0.4, 2.2, 427)  # pixels per cell that the search tries, 0.4% apart
TRANSFORM_SIDE = 2048  # four times the picture, so that values between neighbouring bins can be interpolated
MAX_SEARCHED_SIDE = 768  # pixels of the reduced picture
THRESHOLD = 7.0  # score z of a detection
BAND_ROWS = 256  # rows whose running sums are held at once
# Without the mark, the differences of the n phases from those of the key are uniform, whatever the picture:
# P(z > t) <= exp(-t^2/2) for each of the 2 x 427 x T^2 positions. By the normal distribution it is 20 times less.
FALSE_ALARM_PROBABILITY = 2 * len(SCALES) * T * T * math.exp(-(THRESHOLD**2) / 2)


_SignedMark = tuple[np.ndarray, np.ndarray, np.ndarray]  # uint8 [H,W,3] each, see Watermarker._prepare


@dataclass(frozen=True)
class Detection:
    """Result of the detector.

    score: z at the best position; scale: pixels per cell there, of the picture reduced to a short side of 512.
    """

    found: bool
    score: float
    scale: float
    mirrored: bool


class Watermarker:
    """Marks the frames of a video, uint8 [H,W,3]. The strength follows the detail of the first frame."""

    def __init__(self) -> None:
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

    @staticmethod
    def _prepare(frame: np.ndarray) -> _SignedMark:
        """Return the positive and the negative part of the mark, and 255 minus the positive one."""
        height, width = frame.shape[:2]
        tile = pattern(max(1.0, min(height, width) / UNSCALED_SIDE))
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
    """Compute the rms [H,W] of the mark from brightness [H,W]: detail within `window` pixels hides a stronger mark."""
    detail = picture - box_mean(picture, window)
    local_rms = np.sqrt(box_mean(detail * detail, window).clip(0))
    return box_mean((MIN_STRENGTH + STRENGTH_PER_DETAIL * local_rms).clip(None, MAX_STRENGTH), window)


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
def spectrum() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows and columns [n] of the half of the ring with columns > 0, and the phases of the key there.

    The phases are complex [n] of magnitude 1.
    """
    rows, columns = np.meshgrid(np.arange(-T // 2, T // 2), np.arange(1, T // 2), indexing="ij")
    radius = np.hypot(rows, columns) / T
    inside = (radius >= RING[0]) & (radius <= RING[1])
    rows, columns = rows[inside], columns[inside]
    # Not numpy's generator: its stream may change between versions, and the marks of old videos must be detected.
    numbers = np.frombuffer(hashlib.shake_256(KEY).digest(4 * len(rows)), "<u4")
    return rows, columns, np.exp(2j * np.pi * numbers / 2**32)


def pattern(scale: float) -> np.ndarray:
    """Make a tile at `scale` pixels per cell: float32 [S,S] with S = round(scale T) and rms 1."""
    rows, columns, phases = spectrum()
    side = round(scale * T)
    half = np.zeros((side, side // 2 + 1), np.complex128)
    half[rows, columns] = phases
    tile = np.fft.irfft2(half, (side, side))
    return (tile / tile.std()).astype(np.float32)


def detect(frames: Iterable[np.ndarray]) -> Detection:
    """Detect the mark in frames, uint8 [H,W,3] of the same size; a single frame will do, more make it more certain."""
    total = None
    for frame in frames:
        detail = residual(reduce_frame(frame))
        total = detail if total is None else total + detail
    return Detection(False, 0.0, 1.0, False) if total is None else search(total)


def reduce_frame(frame: np.ndarray) -> np.ndarray:
    """Reduce a frame to its brightness [h,w] with a short side of at most UNSCALED_SIDE.

    Of sides longer than MAX_SEARCHED_SIDE the middle is kept.
    """
    from PIL import Image

    picture = luma(frame)
    short = min(picture.shape)
    if short > UNSCALED_SIDE:
        size = [round(side * UNSCALED_SIDE / short) for side in picture.shape[::-1]]
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    top, left = (max(0, side - MAX_SEARCHED_SIDE) // 2 for side in picture.shape)
    return picture[top : top + MAX_SEARCHED_SIDE, left : left + MAX_SEARCHED_SIDE]


def residual(picture: np.ndarray) -> np.ndarray:
    """Subtract the local mean from a picture [h,w] and divide by the local variance, so that edges count little."""
    detail = picture - box_mean(picture, 9)
    return detail / (box_mean(detail * detail, 9) + 4)  # 4: variance of the noise of codecs, in grey levels squared


def search(total: np.ndarray) -> Detection:
    """Find the best scale, mirroring and shift of the pattern in a residual [h,w]."""
    from scipy import fft

    rows, columns, phases = spectrum()
    padded = np.zeros((TRANSFORM_SIDE, TRANSFORM_SIDE), np.float32)
    height, width = total.shape
    padded[:height, :width] = total
    # Roll the centre to the corner: phases then change slowly from bin to bin.
    plane = np.asarray(fft.rfft2(np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))))
    best = Detection(False, 0.0, 1.0, False)
    for mirrored in (False, True):
        for scales in np.array_split(SCALES, 16):
            step = (TRANSFORM_SIDE / T / scales)[:, None]
            observed = _interpolate(plane, (-rows if mirrored else rows) * step, columns * step)
            if mirrored:  # the spectrum of f(-x) at (-row, column) is the conjugate of that of f at (row, column)
                observed = observed.conj()
            half = np.zeros((len(scales), T, T // 2 + 1), np.complex64)
            half[:, rows, columns] = observed / np.maximum(np.abs(observed), 1e-20) * phases.conj()
            peaks = np.asarray(fft.irfft2(half, (T, T))).max((1, 2)) * (T * T / 2 / math.sqrt(len(rows) / 2))
            if (score := float(peaks.max())) > best.score:
                best = Detection(score >= THRESHOLD, score, float(scales[peaks.argmax()]), mirrored)
    return best


def _interpolate(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolate a half plane of frequencies [P,P/2+1] linearly between the four bins around fractional positions."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    upper = plane[top, left] * (1 - right) + plane[top, left + 1] * right
    lower = plane[top + 1, left] * (1 - right) + plane[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down
