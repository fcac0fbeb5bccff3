"""How many frames a second a machine draws in real time: 25, 20 or 15, by what frames cost it."""

from __future__ import annotations

from anitalker.config import FPS

# Of five frames, which are drawn at each rate. Skipped ones are as far apart as they can be.
PATTERNS = {FPS: (0, 1, 2, 3, 4), 20: (0, 1, 2, 3), 15: (0, 2, 4)}
RATES = tuple(PATTERNS)  # frames per second, falling
WINDOW_FRAMES = FPS  # of the time line, after which the rate is thought over
LATE_LIMIT, SLOW_WINDOWS = 5, 2  # late frames in each of so many windows in a row let the rate fall
VERY_LATE_LIMIT = 10  # late frames in one window, which do so at once
MAX_LOAD = 0.9  # of the threads' time, that the next higher rate may take
CALM_WINDOWS = 2  # in a row, before the rate rises
CALM_LATE = 2  # frames of a calm window that may be late all the same


class FrameRate:
    """Chooses the rate. It falls when frames keep coming late, and rises after a while in which there was time.

    threads: that share the work.
    """

    def __init__(self, threads: int = 1) -> None:
        self.rate, self.threads = RATES[0], threads
        self._late = self._count = self._calm = self._slow = 0
        self._motion = self._drawing = 0.0  # seconds of work in this window

    def draws(self, index: int) -> bool:
        """Whether frame `index` of the time line, 25 a second, is drawn at the present rate."""
        return index % 5 in PATTERNS[self.rate]

    def record(self, motion_seconds: float, drawing_seconds: float, is_late: bool) -> bool:
        """Note what a frame of the time line cost; 0 where it was not drawn. Returns whether the rate changed."""
        self._motion, self._drawing = self._motion + motion_seconds, self._drawing + drawing_seconds
        self._late, self._count = self._late + is_late, self._count + 1
        place, is_over = RATES.index(self.rate), self._count == WINDOW_FRAMES
        if is_over:
            self._slow = self._slow + 1 if self._late >= LATE_LIMIT else 0
        if self.rate != RATES[-1] and (self._late >= VERY_LATE_LIMIT or self._slow >= SLOW_WINDOWS):
            return self._change(1)
        if not is_over:
            return False
        if place and self._late <= CALM_LATE:
            higher = self._motion + self._drawing * RATES[place - 1] / self.rate
            self._calm = self._calm + 1 if higher < MAX_LOAD * self.threads * WINDOW_FRAMES / FPS else 0
        else:
            self._calm = 0
        if self._calm >= CALM_WINDOWS:
            return self._change(-1)
        self._begin_window()
        return False

    def _change(self, step: int) -> bool:
        self.rate, self._calm = RATES[RATES.index(self.rate) + step], 0
        self._slow = 0
        self._begin_window()
        return True

    def _begin_window(self) -> None:
        self._late = self._count = 0
        self._motion = self._drawing = 0.0
