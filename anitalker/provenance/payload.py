"""The error correction of the identifier that the watermark carries: a Reed-Solomon code, decoded from soft values.

The code is that of `reedsolo`: 8 bytes of data and 8 check bytes over GF(256). Seen as bits it is a linear code of 128
bits, which ordered statistics decoding (Fossorier and Lin 1995) reads from soft values: the most reliable bits that
determine a word are taken as they are, then with up to three of them flipped, and the word that fits best wins. This
is within a few tenths of a decibel of the best decoder; the library's own decodes bytes, not soft values.

Letters: k = 64 bits of data, n = 128 bits of a code word.
"""

from __future__ import annotations

import functools
import itertools
import secrets

import numpy as np

DATA_BYTES, CHECK_BYTES = 8, 8
DATA_BITS, CODE_BITS = 8 * DATA_BYTES, 8 * (DATA_BYTES + CHECK_BYTES)
MAX_FLIPS = 3  # bits of the most reliable ones that may be wrong
MIN_LEAD = 4.0  # log likelihood ratio of the best word and the next one that makes a reading certain


def new_identifier() -> str:
    """Draw the random identifier of a file: 64 bits as 16 hexadecimal digits."""
    return secrets.token_hex(DATA_BYTES)


def encode(identifier: str) -> np.ndarray:
    """Encode an identifier of 16 hexadecimal digits as the bits, uint8 [n], of a code word."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(identifier), np.uint8))
    return bits @ _generator_matrix() % 2


def decode(soft: np.ndarray, copies: float) -> str | None:
    """Decode soft values [n], positive for a 0, each the sum of `copies` values whose noise has a variance of 1.

    None where another identifier would fit nearly as well.
    """
    word, score, lead = _best_word(soft)
    amplitude = score / (copies * CODE_BITS)
    if amplitude * lead < MIN_LEAD:
        return None
    return np.packbits(word[:DATA_BITS]).tobytes().hex()  # the code is systematic: data first


@functools.cache
def _generator_matrix() -> np.ndarray:
    """Return the generator matrix, uint8 [k,n]: the code words of the single bits."""
    from reedsolo import RSCodec

    codec = RSCodec(CHECK_BYTES)
    words = [bytes(codec.encode(np.packbits(row).tobytes())) for row in np.eye(DATA_BITS, dtype=np.uint8)]
    return np.unpackbits(np.frombuffer(b"".join(words), np.uint8).reshape(DATA_BITS, -1), axis=1)


def _best_word(soft: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Find the code word [n] that fits soft values [n] best, its correlation, and its lead over the next one."""
    order = np.argsort(-np.abs(soft))
    matrix, pivots = _reduce(_generator_matrix()[:, order])
    values = soft[order].astype(np.float32)
    first = (values[pivots] < 0).astype(np.uint8) @ matrix % 2
    rows = np.vstack([matrix, np.zeros((1, CODE_BITS), np.uint8)])
    signs = 1 - 2 * rows.astype(np.float32)
    flips = _flips()
    products = signs[flips[:, 0]] * signs[flips[:, 1]] * signs[flips[:, 2]]
    scores = products @ ((1 - 2 * first.astype(np.float32)) * values)
    second, best = np.argpartition(scores, -2)[-2:]
    word = np.empty(CODE_BITS, np.uint8)
    word[order] = first ^ np.bitwise_xor.reduce(rows[flips[best]])
    return word, float(scores[best]), float(scores[best] - scores[second])


@functools.cache
def _flips() -> np.ndarray:
    """List every choice [43745,3] of up to MAX_FLIPS = 3 of k rows; k itself stands for none."""
    rows = range(DATA_BITS)
    chosen = [flips for count in range(MAX_FLIPS + 1) for flips in itertools.combinations(rows, count)]
    return np.array([flips + (DATA_BITS,) * (MAX_FLIPS - len(flips)) for flips in chosen])


def _reduce(matrix: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Bring a matrix [k,n] of bits into reduced echelon form; return it and the columns [k] of its pivots."""
    matrix, pivots = matrix.copy(), []
    for column in range(matrix.shape[1]):
        row = len(pivots)
        candidates = row + np.flatnonzero(matrix[row:, column])
        if len(candidates):
            matrix[[row, candidates[0]]] = matrix[[candidates[0], row]]
            others = np.flatnonzero(matrix[:, column])
            matrix[others[others != row]] ^= matrix[row]
            pivots.append(column)
    return matrix, pivots
