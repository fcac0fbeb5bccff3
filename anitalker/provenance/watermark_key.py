"""The keys of the watermark: at which spatial frequencies it lies, with which phases, and what turns them.

Letters: T cells of a tile, n frequencies in the ring.
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
KEY = Key(b"anitalker watermark 3", 256, (0.05, 0.14), math.radians(50), CONVOLUTIONAL)
# No longer written, still found and read: of the first months of 0.2, and of versions before.
REED_SOLOMON = Code(payload.CODE_BITS, payload.encode, payload.decode)
SECOND_KEY = Key(b"anitalker watermark 2", 128, (0.03, 0.16), math.radians(44), REED_SOLOMON)
FIRST_KEY = Key(b"anitalker watermark 1", 128, (0.05, 0.17))
KEYS = (KEY, SECOND_KEY, FIRST_KEY)


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
