"""The inaudible mark of synthetic sound: gains of one decibel over time and frequency, with an identifier of 64 bits.

Spread spectrum on the magnitudes of a short-time Fourier transform (Kirovski and Malvar 2003): each cell of 20 ms x
50 Hz between 1 and 7 kHz is one decibel louder or softer, by a key. The change is always in proportion to the sound at
that place, which masks it; silence stays silent. A share of the cells tells that the mark is there, each of the others
carries one bit of the error-corrected identifier. The pattern repeats every P frames.
`audio_mark_search` detects it; the original is not needed.

Letters: N samples, C channels, P frames of the pattern, B bands, K frames at once, h samples of a hop, F frequencies.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from anitalker.config import SAMPLE_RATE
from anitalker.provenance import payload

P = 64  # frames: 1.28 s
HOP_SECONDS = 0.02  # the window is twice as long, so that frequencies are 25 Hz apart
LOWEST_HZ, BAND_HZ, B = 1000, 50, 120  # up to 7 kHz: what telephony and codecs keep, above the strongest harmonics
DEPTH_DB = 1.0  # of each gain, up or down
PRESENCE_SHARE = 0.3  # of the cells
SEED = b"anitalker watermark 2, sound"  # public, as that of the watermark


@functools.cache
def cells() -> tuple[np.ndarray, np.ndarray]:
    """Return the signs [P,B] of the key, and which bit of the code word each cell [P,B] carries; -1: presence."""
    count = P * B
    stream = hashlib.shake_256(SEED).digest(5 * count)
    numbers, coins = np.frombuffer(stream, "<u4", count), np.frombuffer(stream, np.uint8, count, 4 * count)
    rank = np.argsort(np.argsort(numbers, kind="stable"), kind="stable") - round(PRESENCE_SHARE * count)
    bits = np.where(rank < 0, -1, rank % payload.CODE_BITS)
    return (1.0 - 2.0 * (coins & 1)).reshape(P, B), bits.reshape(P, B)


def gains(identifier: str, rate: int) -> np.ndarray:
    """Return the gains [P,F] of the frequencies that a window of 2 h samples has at a sample rate."""
    signs, bits = cells()
    code = 1.0 - 2.0 * payload.encode(identifier)
    field = DEPTH_DB * signs * np.where(bits < 0, 1.0, code[bits])
    frequencies = np.arange(hop(rate) + 1) * rate / (2 * hop(rate))
    bands = np.floor((frequencies - LOWEST_HZ) / BAND_HZ + 1e-6).astype(int)
    inside = (bands >= 0) & (bands < B)
    return np.where(inside, 10 ** (field[:, bands.clip(0, B - 1)] / 20), 1.0).astype(np.float32)


def hop(rate: int) -> int:
    """Return the samples h from one frame to the next."""
    return round(HOP_SECONDS * rate)


def mark(pieces: Iterable[np.ndarray], rate: int, identifier: str, first_frame: int = 0) -> Iterator[np.ndarray]:
    """Yield sound, float32 [N,C] in pieces of any length, with the mark; as many samples as came.

    All channels get the same gains. A piece comes h to 2 h samples late, which is 20 to 40 ms. identifier: of the file,
    16 hexadecimal digits; first_frame: of the pattern, where sound goes on that was marked before.
    """
    marker, total, yielded = _Marker(identifier, rate, first_frame), 0, 0
    channels = 1
    for piece in pieces:
        total, channels = total + len(piece), piece.shape[1]
        sound = marker(piece)
        yielded += len(sound)
        yield sound
    yield marker(np.zeros((2 * hop(rate), channels), np.float32))[: total - yielded]


def mark_speech(pieces: Iterable[np.ndarray], identifier: str, first_frame: int = 0) -> Iterator[np.ndarray]:
    """Yield speech, float32 [N] at 16 kHz in pieces as they arrive, with the mark; see `mark`."""
    for piece in mark((piece[:, None] for piece in pieces), SAMPLE_RATE, identifier, first_frame):
        if len(piece):
            yield piece[:, 0]


class _Marker:
    """Puts the gains on frames that overlap by half, piece by piece; the result comes a hop or two later."""

    def __init__(self, identifier: str, rate: int, first_frame: int) -> None:
        self._hop, self._gains = hop(rate), gains(identifier, rate)
        phases = np.pi * (np.arange(2 * self._hop) + 0.5) / (2 * self._hop)
        self._window = np.sin(phases).astype(np.float32)[:, None]  # on the way in and out: its squares add up to 1
        self._waiting = self._tail = np.zeros((self._hop, 1), np.float32)  # silence before the first sample
        self._frames, self._is_first = first_frame, True

    def __call__(self, piece: np.ndarray) -> np.ndarray:
        """Take samples [N,C], return those that are ready."""
        step, channels = self._hop, piece.shape[1]
        waiting = np.concatenate([np.broadcast_to(self._waiting, (len(self._waiting), channels)), piece])
        count = len(waiting) // step - 1
        if count < 1:
            self._waiting = waiting
            return waiting[:0]
        framed = np.stack([waiting[start * step : (start + 2) * step] for start in range(count)])  # [K,2h,C]
        numbers = (self._frames + np.arange(count)) % P
        spectrum = np.fft.rfft(framed * self._window, axis=1) * self._gains[numbers, :, None]
        framed = np.fft.irfft(spectrum, 2 * step, axis=1).astype(np.float32) * self._window
        sound = framed[:, :step].copy()
        sound[0] += self._tail
        sound[1:] += framed[:-1, step:]
        silence, self._is_first = self._is_first, False  # the first hop
        self._waiting, self._tail, self._frames = waiting[count * step :], framed[-1, step:], self._frames + count
        return sound.reshape(-1, channels)[step * silence :]
