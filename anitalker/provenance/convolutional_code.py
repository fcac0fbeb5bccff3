"""The error correction of the identifier that the watermark carries: a tail-biting convolutional code of low rate.

Each of the k bits of data gives r bits, from itself and the M bits before it; the first bits follow the last ones
(tail biting, Ma and Wolf 1986), so that all are equally safe. The decoder takes soft values and finds for each bit the
best words that have it and that do not (max-log-MAP, Bahl et al. 1974, twice around the circle). At the noise where the
128 bits of `payload` are read in half of all trials, these 640 are read in nine of ten.

Letters: k = 64 bits of data, r = 10, M = 12, S = 2^M states.
"""

from __future__ import annotations

import functools
import math

import numpy as np

DATA_BITS, M = 64, 12
# Taps of the newest bit (the highest) and of those before it: of 12 random sets the one whose words are the farthest
# apart, 78 of 640 bits.
TAPS = (6935, 5535, 4827, 7071, 4277, 4435, 4755, 6551, 8037, 7559)
CODE_BITS = DATA_BITS * len(TAPS)
S = 1 << M
# Correlation in standard deviations that a word needs: any of the 2^64 reaches it by chance with a probability below
# 2^64 exp(-10.2^2 / 2) = 5e-4, whatever the picture.
MIN_SCORE = 10.2
MIN_LEAD = 3.0  # log likelihood ratio of the best word and the next one


def encode(identifier: str) -> np.ndarray:
    """Encode an identifier of 16 hexadecimal digits as the bits, uint8 [k r], of a code word."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(identifier), np.uint8)).astype(int)
    registers = sum(np.roll(bits, age) << (M - age) for age in range(M + 1))
    return ((1 - _signs()[registers]) / 2).astype(np.uint8).reshape(-1)


def decode(soft: np.ndarray, copies: float) -> str | None:
    """Decode soft values [k r], positive for a 0, each the sum of `copies` values whose noise has a variance of 1.

    None where no word, or another one too, fits well enough.
    """
    ratios = _max_log_ratios(soft.reshape(DATA_BITS, len(TAPS)).astype(np.float32))
    identifier = np.packbits(ratios < 0).tobytes().hex()
    correlation = float(np.sum(soft * (1.0 - 2.0 * encode(identifier))))
    score = correlation / math.sqrt(copies * CODE_BITS)
    lead = float(np.abs(ratios).min()) * correlation / (copies * CODE_BITS)
    return identifier if score >= MIN_SCORE and lead >= MIN_LEAD else None


@functools.cache
def _signs() -> np.ndarray:
    """Return what each register [2 S], the newest bit highest, gives: float32 [2 S,r], 1 for a 0, -1 for a 1."""
    parities = np.zeros((2 * S, len(TAPS)), int)
    taken = np.arange(2 * S)[:, None] & np.array(TAPS)
    for place in range(M + 1):
        parities ^= taken >> place & 1
    return (1 - 2 * parities).astype(np.float32)


def _max_log_ratios(soft: np.ndarray) -> np.ndarray:
    """Compute for each bit [k] how much better the best word with a 0 there fits soft values [k,r] than with a 1."""
    gains = (soft @ _signs().T).reshape(DATA_BITS, 2, S)  # of a new bit in a state, the bits before it
    forward, backward = np.zeros((DATA_BITS, S), np.float32), np.zeros(S, np.float32)
    state = np.zeros(S, np.float32)
    for step in [*range(DATA_BITS), *range(DATA_BITS)]:  # around the circle, once to forget the start
        forward[step] = state - state.max()
        # A new bit moves the others by one; the oldest one, the lowest, leaves.
        state = (gains[step] + forward[step]).reshape(2, S // 2, 2).max(2).reshape(S)
    ratios = np.empty(DATA_BITS, np.float32)
    for step in [*reversed(range(DATA_BITS)), *reversed(range(DATA_BITS))]:
        rest = gains[step] + np.repeat(backward.reshape(2, S // 2), 2, axis=1)
        zeros, ones = (rest + forward[step]).max(1)
        ratios[step] = zeros - ones
        backward = rest.max(0)
        backward -= backward.max()
    return ratios
