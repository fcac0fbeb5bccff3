"""Speech on a time line: what is said when, while it arrives, is interrupted, and is heard."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from anitalker.config import SAMPLE_RATE

FADE_SAMPLES = SAMPLE_RATE // 50  # 20 ms, in which an interrupted voice falls silent
AUDIBLE_RMS = 0.003  # -50 dB of full scale, over AUDIBLE_BLOCK samples
AUDIBLE_BLOCK = SAMPLE_RATE // 100


class SpeechLine:
    """Samples float32 in -1..1 by their position, at 16 kHz from the beginning of the line; silence where none are.

    Threads may share it. Nothing is ever written before `earliest` of an append, so what was read stays true until an
    interruption.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, np.ndarray]] = deque()  # position of the first sample, samples; ascending
        self._marks: deque[int] = deque()  # positions at which turns end
        self._end = 0
        self._lock = threading.Lock()

    @property
    def end(self) -> int:
        """Position behind the last sample."""
        return self._end

    def append(self, samples: np.ndarray, earliest: int) -> int:
        """Write samples behind the last one, but not before `earliest`. Returns the position of the first."""
        with self._lock:
            begin = max(self._end, earliest)
            if len(samples):
                self._pieces.append((begin, samples.astype(np.float32)))
                self._end = begin + len(samples)
            return begin

    def mark(self, earliest: int) -> None:
        """Note that a turn ends behind the last sample, or at `earliest` if that is later."""
        with self._lock:
            self._marks.append(max(self._end, earliest))

    def passed_marks(self, position: int) -> int:
        """Count, and forget, the ends of turns at or before a position."""
        with self._lock:
            count = 0
            while self._marks and self._marks[0] <= position:
                self._marks.popleft()
                count += 1
            return count

    def cut(self, position: int) -> int:
        """Let the voice fall silent from `position` on: fade, then nothing. Returns how many samples are not heard."""
        with self._lock:
            dropped = max(0, self._end - max(position, self._pieces[0][0])) if self._pieces else 0
            faded = self._read(position, FADE_SAMPLES) * np.linspace(1, 0, FADE_SAMPLES, dtype=np.float32)
            while self._pieces and self._pieces[-1][0] >= position:
                self._pieces.pop()
            if self._pieces:
                begin, samples = self._pieces[-1]
                self._pieces[-1] = (begin, samples[: position - begin])
            if faded.any():
                self._pieces.append((position, faded))
            self._end = sum((self._pieces[-1][0], len(self._pieces[-1][1]))) if self._pieces else 0
            self._marks.clear()
            return dropped

    def read(self, begin: int, count: int) -> np.ndarray:
        """Samples float32 [count] from position `begin` on."""
        with self._lock:
            return self._read(begin, count)

    def _read(self, begin: int, count: int) -> np.ndarray:
        window = np.zeros(count, np.float32)
        for first, samples in self._pieces:
            low, high = max(begin, first), min(begin + count, first + len(samples))
            if low < high:
                window[low - begin : high - begin] = samples[low - first : high - first]
        return window

    def is_audible(self, begin: int, end: int) -> bool:
        """Whether anything is said between two positions."""
        return is_audible(self.read(begin, end - begin))

    def forget(self, position: int) -> None:
        """Drop whole pieces that end before a position."""
        with self._lock:
            while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= position:
                self._pieces.popleft()


def is_audible(samples: np.ndarray) -> bool:
    """Whether sound, float32 [N], is more than noise: some block of 10 ms is louder than AUDIBLE_RMS."""
    blocks = samples[: len(samples) // AUDIBLE_BLOCK * AUDIBLE_BLOCK].reshape(-1, AUDIBLE_BLOCK)
    return bool(len(blocks)) and float(np.square(blocks).mean(1).max()) > AUDIBLE_RMS**2
