"""Search frames for the invisible watermark, and read the identifier that it carries.

The mark is found by phase correlation (Kuglin and Hines 1975) over scales, mirror images and shifts.

Letters: T cells of a tile, H x W pixels of a frame, h x w of the reduced one, n frequencies in the ring, z score in
standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from anitalker.provenance import payload
from anitalker.provenance.watermark import (
    KEY,
    OLD_KEY,
    UNSCALED_SIDE,
    Key,
    T,
    box_mean,
    chip_bits,
    luma,
    spectrum,
)

SCALES = np.geomspace(0.4, 2.2, 427)  # pixels per cell that the search tries, 0.4% apart
TRANSFORM_SIDE = 2048  # four times the picture, so that values between neighbouring bins can be interpolated
MAX_SEARCHED_SIDE = 768  # pixels of the reduced picture
NEIGHBOURS = 31  # frequencies of about the same radius, whose rms is one
THRESHOLD = 7.0  # score z of a detection
# Without the mark, the differences of the n phases from those of the key are uniform, whatever the picture:
# P(z > t) <= exp(-t^2/2) for each of the 2 x 427 x T^2 positions of both keys. By the normal distribution it is 20
# times less.
FALSE_ALARM_PROBABILITY = 2 * 2 * len(SCALES) * T * T * math.exp(-(THRESHOLD**2) / 2)
FINE_SCALES = np.linspace(0.995, 1.005, 11)  # around the scale found, before the identifier is read
FINE_SHIFTS = np.linspace(-0.75, 0.75, 13)  # cells, around the shift found


@dataclass(frozen=True)
class Detection:
    """Result of the detector.

    score: z at the best position; scale: pixels per cell there, of the picture reduced to a short side of 512;
    identifier: 16 hexadecimal digits, None where there is none or it cannot be read with certainty.
    """

    found: bool
    score: float
    scale: float
    mirrored: bool
    identifier: str | None = None


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
    """Find the best scale, mirroring and shift of the patterns of both keys in a residual [h,w]."""
    from scipy import fft

    padded = np.zeros((TRANSFORM_SIDE, TRANSFORM_SIDE), np.float32)
    height, width = total.shape
    padded[:height, :width] = total
    # Roll the centre to the corner: phases then change slowly from bin to bin.
    plane = np.asarray(fft.rfft2(np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))))
    detection = _search_key(plane, KEY)
    if not detection.found:
        detection = max(detection, _search_key(plane, OLD_KEY), key=lambda result: result.score)
    return detection


def _search_key(plane: np.ndarray, key: Key) -> Detection:
    from scipy import fft

    rows, columns, phases = spectrum(key)
    best, shift = Detection(False, 0.0, 1.0, False), (0, 0)
    for mirrored in (False, True):
        for scales in np.array_split(SCALES, 16):
            observed = _observe(plane, key, scales, mirrored)
            half = np.zeros((len(scales), T, T // 2 + 1), np.complex64)
            observed = _limited(observed, key)
            half[:, rows, columns] = observed * phases.conj()
            correlation = np.asarray(fft.irfft2(half, (T, T)))
            # Of magnitudes that do not depend on the key the bound is the same as of ones (Hoeffding 1963).
            deviations = np.sqrt(np.sum(np.abs(observed) ** 2, 1) / 2 + 1e-9)
            correlation *= (T * T / 2) / deviations[:, None, None]
            place = np.unravel_index(correlation.argmax(), correlation.shape)
            if (score := float(correlation[place])) > best.score:
                best = Detection(score >= THRESHOLD, score, float(scales[place[0]]), mirrored)
                shift = (int(place[1]), int(place[2]))
    if best.found and key.has_identifier:
        best = replace(best, identifier=_read_identifier(plane, key, best, shift))
    return best


def _observe(plane: np.ndarray, key: Key, scales: np.ndarray, mirrored: bool) -> np.ndarray:
    """Read the frequencies of the key from a plane, at scales [s] in pixels per cell: complex [s,n]."""
    rows, columns, _ = spectrum(key)
    step = (TRANSFORM_SIDE / T / scales)[:, None]
    observed = _interpolate(plane, (-rows if mirrored else rows) * step, columns * step)
    # The spectrum of f(-x) at (-row, column) is the conjugate of that of f at (row, column).
    return observed.conj() if mirrored else observed


def _limited(observed: np.ndarray, key: Key) -> np.ndarray:
    """Divide observations [s,n] by the rms of their neighbours in radius; larger ones become 1.

    The picture is stronger at low frequencies, and a few of its frequencies are much stronger than others.
    """
    rows, columns, _ = spectrum(key)
    order = np.argsort(np.hypot(rows, columns), kind="stable")
    powers = np.pad(np.abs(observed[:, order]) ** 2, ((0, 0), (NEIGHBOURS // 2 + 1, NEIGHBOURS // 2)), "edge")
    sums = powers.cumsum(1, dtype=np.float64)
    rms = np.empty(observed.shape)
    rms[:, order] = np.sqrt((sums[:, NEIGHBOURS:] - sums[:, :-NEIGHBOURS]) / NEIGHBOURS)
    return observed / np.maximum(np.maximum(np.abs(observed), rms), 1e-20)


def _read_identifier(plane: np.ndarray, key: Key, found: Detection, shift: tuple[int, int]) -> str | None:
    """Read the identifier where the mark was found; scale and shift are refined by a fraction of a cell first."""
    rows, columns, phases = spectrum(key)
    observed = _limited(_observe(plane, key, found.scale * FINE_SCALES, found.mirrored), key) * phases.conj()
    down = np.exp(2j * np.pi / T * (shift[0] + FINE_SHIFTS)[:, None] * rows)
    right = np.exp(2j * np.pi / T * (shift[1] + FINE_SHIFTS)[:, None] * columns)
    sums = np.real((observed[:, None] * down) @ right.T)  # over scale, row, column
    scale, row, column = np.unravel_index(sums.argmax(), sums.shape)
    turned = np.imag(observed[scale] * down[row] * right[column])
    turned /= math.sqrt(np.mean(np.abs(observed[scale]) ** 2) / 2)
    bits = np.bincount(chip_bits(), turned, payload.CODE_BITS)
    return payload.decode(bits, len(rows) / payload.CODE_BITS)


def _interpolate(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolate a half plane of frequencies [P,P/2+1] linearly between the four bins around fractional positions."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    upper = plane[top, left] * (1 - right) + plane[top, left + 1] * right
    lower = plane[top + 1, left] * (1 - right) + plane[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down
