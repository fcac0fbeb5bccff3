"""Search frames for the invisible watermark, and read the identifier that it carries.

The mark is found by phase correlation (Kuglin and Hines 1975) over scales, mirror images and shifts: where the phases
of the key alone fit, or where an identifier can be read with which all of it fits.

Letters: T cells of a tile, H x W pixels of a frame, h x w of the reduced one, n frequencies in the ring, z score in
standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from anitalker.provenance.watermark_key import KEYS, Key, chip_bits, marked_phases, spectrum
from anitalker.provenance.watermark_phases import deviation, limited, reduce_frame, residual

SCALES = np.geomspace(0.4, 2.2, 343)  # pixels per cell that the search tries, 0.5% apart
MAX_SEARCHED_SIDE = 768  # pixels of the reduced picture: of longer sides the middle is searched
TRANSFORM_SIDE = 2048  # four times the picture, so that values between neighbouring bins can be interpolated
FINE_SCALES = np.linspace(0.995, 1.005, 11)  # around a scale, before the identifier is read
FINE_SHIFTS = np.linspace(-0.75, 0.75, 13)  # cells, around a shift
THRESHOLD = 7.1  # score z of a detection by the key alone
WHOLE_THRESHOLD = 12.6  # the same of the key with an identifier that was read
CANDIDATE = 5.0  # score z from which on an identifier is looked for
MAX_CANDIDATES = 6
PLACES = 2 * len(SCALES) * sum(key.tile**2 for key in KEYS)  # mirrored or not, at every scale and shift
FINE_PLACES = PLACES * len(FINE_SCALES) * len(FINE_SHIFTS) ** 2
# Without the mark, the differences of the n phases from those of the key are uniform, whatever the picture:
# P(z > t) <= exp(-t^2/2) for each place, and for each of the 2^64 identifiers at each fine one. By the normal
# distribution it is 20 times less.
FALSE_ALARM_PROBABILITY = PLACES * math.exp(-(THRESHOLD**2) / 2) + FINE_PLACES * 2**64 * math.exp(
    -(WHOLE_THRESHOLD**2) / 2
)


@dataclass(frozen=True)
class Detection:
    """Result of the detector.

    score: z at the best place; scale: pixels per cell there, of the picture reduced to a short side of 512;
    identifier: 16 hexadecimal digits, None where there is none or it cannot be read with certainty; threshold: what the
    score must reach, more where it is that of the mark with its identifier.
    """

    found: bool
    score: float
    scale: float
    mirrored: bool
    identifier: str | None = None
    threshold: float = THRESHOLD


@dataclass(frozen=True)
class _Place:
    """Where a key may be: its score z, the scale, whether mirrored, the shift down and right in cells."""

    score: float
    scale: float
    mirrored: bool
    shift: tuple[int, int] = (0, 0)


def detect(frames: Iterable[np.ndarray]) -> Detection:
    """Detect the mark in frames, uint8 [H,W,3] of the same size; a single frame will do, more make it more certain."""
    total = None
    for frame in frames:
        detail = residual(_middle(reduce_frame(frame)))
        total = detail if total is None else total + detail
    return Detection(False, 0.0, 1.0, False) if total is None else search(total)


def _middle(picture: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - MAX_SEARCHED_SIDE) // 2 for side in picture.shape)
    return picture[top : top + MAX_SEARCHED_SIDE, left : left + MAX_SEARCHED_SIDE]


def search(total: np.ndarray) -> Detection:
    """Find the best scale, mirroring and shift of the patterns of all keys in a residual [h,w]."""
    from scipy import fft

    padded = np.zeros((TRANSFORM_SIDE, TRANSFORM_SIDE), np.float32)
    height, width = total.shape
    padded[:height, :width] = total
    # Roll the centre to the corner: phases then change slowly from bin to bin.
    plane = np.asarray(fft.rfft2(np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))))
    best = Detection(False, 0.0, 1.0, False)
    for key in KEYS:
        detection = _search_key(plane, key)
        if detection.found:
            return detection
        best = max(best, detection, key=lambda result: result.score)
    return best


def _search_key(plane: np.ndarray, key: Key) -> Detection:
    places = sorted(_best_places(plane, key), key=lambda place: -place.score)
    best = places[0]
    if key.code:
        for place in places[:MAX_CANDIDATES]:
            if place.score < CANDIDATE:
                break
            identifier, whole = _read_identifier(plane, key, place)
            if identifier and (place.score >= THRESHOLD or whole >= WHOLE_THRESHOLD):
                if place.score >= THRESHOLD:
                    return Detection(True, place.score, place.scale, place.mirrored, identifier)
                return Detection(True, whole, place.scale, place.mirrored, identifier, WHOLE_THRESHOLD)
    return Detection(best.score >= THRESHOLD, best.score, best.scale, best.mirrored)


def _best_places(plane: np.ndarray, key: Key) -> Iterator[_Place]:
    """Yield the best place of the phases of a key in each range of scales, mirrored and not."""
    from scipy import fft

    rows, columns, phases = spectrum(key)
    side = key.tile
    for mirrored in (False, True):
        for scales in np.array_split(SCALES, 16):
            observed = limited(_observe(plane, key, scales, mirrored), key)
            half = np.zeros((len(scales), side, side // 2 + 1), np.complex64)
            half[:, rows, columns] = observed * phases.conj()
            correlation = np.asarray(fft.irfft2(half, (side, side)))
            # Of magnitudes that do not depend on the key the bound is the same as of ones (Hoeffding 1963).
            correlation *= (side * side / 2) / deviation(observed)[:, None, None]
            scale, down, right = np.unravel_index(correlation.argmax(), correlation.shape)
            score = float(correlation[scale, down, right])
            yield _Place(score, float(scales[scale]), mirrored, (int(down), int(right)))


def _observe(plane: np.ndarray, key: Key, scales: np.ndarray, mirrored: bool) -> np.ndarray:
    """Read the frequencies of the key from a plane, at scales [s] in pixels per cell: complex [s,n]."""
    rows, columns, _ = spectrum(key)
    step = (TRANSFORM_SIDE / key.tile / scales)[:, None]
    observed = _interpolate(plane, (-rows if mirrored else rows) * step, columns * step)
    # The spectrum of f(-x) at (-row, column) is the conjugate of that of f at (row, column).
    return observed.conj() if mirrored else observed


def _read_identifier(plane: np.ndarray, key: Key, place: _Place) -> tuple[str | None, float]:
    """Read the identifier at a place; scale and shift are refined by a fraction of a cell first.

    Returns it, None where it is not certain, and the score z of the key with it.
    """
    assert key.code
    rows, columns, phases = spectrum(key)
    observed = limited(_observe(plane, key, place.scale * FINE_SCALES, place.mirrored), key)
    down = np.exp(2j * np.pi / key.tile * (place.shift[0] + FINE_SHIFTS)[:, None] * rows)
    right = np.exp(2j * np.pi / key.tile * (place.shift[1] + FINE_SHIFTS)[:, None] * columns)
    sums = np.real(((observed * phases.conj())[:, None] * down) @ right.T)  # over scale, row, column
    scale, row, column = np.unravel_index(sums.argmax(), sums.shape)
    shifted = observed[scale] * down[row] * right[column]
    turned = np.imag(shifted * phases.conj()) / math.sqrt(np.mean(np.abs(shifted) ** 2) / 2)
    bits = np.bincount(chip_bits(key), turned, key.code.bits)
    identifier = key.code.decode(bits, len(rows) / key.code.bits)
    if identifier is None:
        return None, 0.0
    fit = float(np.sum(np.real(shifted * marked_phases(key, identifier).conj())))
    return identifier, fit / float(deviation(shifted))


def _interpolate(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolate a half plane of frequencies [P,P/2+1] linearly between the four bins around fractional positions."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    upper = plane[top, left] * (1 - right) + plane[top, left + 1] * right
    lower = plane[top + 1, left] * (1 - right) + plane[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down
