"""Search sound for the inaudible mark, and read the identifier that it carries.

The logarithmic magnitudes of a short-time Fourier transform are freed of what is smooth in time and frequency, summed
up over the repetitions of the pattern, and correlated with the key's signs at all shifts in time: over each stretch of
five and ten seconds and over the whole.

Letters: N samples, P frames of the pattern, B bands, R fine shifts of a frame, z score in standard deviations.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from anitalker.config import SAMPLE_RATE
from anitalker.provenance import payload
from anitalker.provenance.audio_mark import BAND_HZ, HOP_SECONDS, LOWEST_HZ, B, P, cells, hop

R = 4  # shifts of 5 ms
STEP = round(HOP_SECONDS * SAMPLE_RATE) // R  # samples
BINS = round(BAND_HZ * 2 * HOP_SECONDS)  # of the transform in a band
SMOOTH_FRAMES, SMOOTH_BINS = 15 * R + 1, 15
LARGEST = 0.6  # deviation of a log magnitude: larger ones are clipped, so that no single cell decides
QUIETEST = 1e-5  # relative to the rms: magnitudes below, digital silence above all, count as equal
BLOCK = 4 * P * R  # fine frames of a stretch, 5.12 s
FALSE_ALARM_PROBABILITY = 1e-7  # per file


@dataclass(frozen=True)
class SoundDetection:
    """Result of the detector.

    score: z at the best place; threshold: what it must reach, more in longer sound; seconds: begin of the stretch that
    was best, None for the whole; identifier: 16 hexadecimal digits, None where it cannot be read with certainty.
    """

    found: bool
    score: float
    threshold: float
    seconds: float | None = None
    identifier: str | None = None


def threshold(count: int) -> float:
    """Compute the score that any of so many candidates reaches with FALSE_ALARM_PROBABILITY at most.

    The key's signs are independent of the sound, so that P(z > t) <= exp(-t^2/2), whatever the sound (Hoeffding 1963).
    """
    return math.sqrt(2 * math.log(max(count, 1) / FALSE_ALARM_PROBABILITY))


def detect_sound(samples: np.ndarray) -> SoundDetection:
    """Detect the mark in sound, float32 [N] at 16 kHz: a second may do, ten make it certain."""
    frames = (len(samples) - 2 * hop(SAMPLE_RATE)) // STEP + 1
    loudness = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    if frames < 1 or loudness == 0:
        return SoundDetection(False, 0.0, threshold(P * R))
    floor = loudness * QUIETEST * SAMPLE_RATE * HOP_SECONDS
    total, before, best_tile, candidates = np.zeros((P * R, B)), None, None, 0
    best: tuple[float, int, int | None] = (-1.0, 0, None)  # score, shift, first frame of the stretch
    for start in range(0, frames, BLOCK):
        tile = _fold(samples, start, min(start + BLOCK, frames), floor)
        total += tile
        stretches: list[tuple[np.ndarray, int | None]] = [(tile, start)]
        if before is not None:
            stretches.append((tile + before, start - BLOCK))
        before = tile
        if start + BLOCK >= frames:
            stretches.append((total, None))
        for stretch, begin in stretches:
            score, shift = _score(stretch)
            candidates += P * R
            if score > best[0]:
                best, best_tile = (score, shift, begin), stretch
    score, shift, begin = best
    limit = threshold(candidates)
    if score < limit or best_tile is None:
        return SoundDetection(False, score, limit)
    seconds = None if begin is None else begin * STEP / SAMPLE_RATE
    return SoundDetection(True, score, limit, seconds, _read_identifier(np.roll(best_tile, -shift, 0)[::R]))


def _fold(samples: np.ndarray, start: int, stop: int, floor: float) -> np.ndarray:
    """Sum up the deviations of fine frames start to stop over the repetitions of the pattern: [P R,B]."""
    from scipy.ndimage import uniform_filter1d

    margin = SMOOTH_FRAMES // 2
    first = max(start - margin, 0)
    window = 2 * hop(SAMPLE_RATE)
    sound = samples[first * STEP : (stop + margin - 1) * STEP + window]
    framed = np.lib.stride_tricks.sliding_window_view(sound, window)[::STEP]
    lowest = round(LOWEST_HZ * 2 * HOP_SECONDS)
    spectrum = np.fft.rfft(framed * np.hanning(window).astype(np.float32), axis=1)[:, lowest : lowest + B * BINS]
    logs = np.log(np.abs(spectrum) + floor).astype(np.float32)
    logs -= uniform_filter1d(logs, SMOOTH_FRAMES, axis=0)
    logs -= uniform_filter1d(logs, SMOOTH_BINS, axis=1)
    deviations = logs.clip(-LARGEST, LARGEST).reshape(len(logs), B, BINS).sum(2)[start - first :][: stop - start]
    tile = np.zeros((P * R, B))
    for repetition in range(0, len(deviations), P * R):
        part = deviations[repetition : repetition + P * R]
        tile[: len(part)] += part  # BLOCK is a multiple of P R
    return tile


@functools.cache
def _presence() -> tuple[np.ndarray, np.ndarray]:
    """Return the transforms over time [P,B] of the signs of the cells that tell presence, and of where they are."""
    signs, bits = cells()
    return np.fft.fft(signs * (bits < 0), axis=0).conj(), np.fft.fft((bits < 0).astype(float), axis=0).conj()


def _score(tile: np.ndarray) -> tuple[float, int]:
    """Find the best z of a tile [P R,B] over all shifts, and the shift in fine frames."""
    signs, places = _presence()
    shifted = tile.reshape(P, R, B)
    sums, squares = (
        np.fft.ifft((np.fft.fft(values, axis=0) * key[:, None]).sum(2), axis=0).real
        for values, key in ((shifted, signs), (shifted**2, places))
    )
    scores = (sums / np.sqrt(np.maximum(squares, 1e-9))).reshape(-1)
    return float(scores.max()), int(scores.argmax())


def _read_identifier(tile: np.ndarray) -> str | None:
    """Read the identifier from a tile [P,B] that begins with the pattern."""
    signs, bits = cells()
    carrying = bits >= 0
    values = tile[carrying] / (np.sqrt(np.mean(tile[carrying] ** 2)) + 1e-9)
    soft = np.bincount(bits[carrying], values * signs[carrying], payload.CODE_BITS)
    return payload.decode(soft, carrying.sum() / payload.CODE_BITS)
