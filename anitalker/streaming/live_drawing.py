"""Frames of a live face, drawn side by side on the machine's cores, in order, and not at all where they come too late.

A frame takes about as long as it is shown, and one core has more to do than to draw: two frames that are drawn at the
same time keep pace where one after the other does not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anitalker.streaming.frame_rate import FrameRate

LATE_SECONDS = 0.04  # after which a frame is not drawn any more
MAX_UNDRAWN_FRAMES = 5  # in a row; then the newest is drawn, late or not
MAX_WORKERS = 4  # cores that one face may use
# Seconds for which a thread may keep Python's lock while another waits; 5 ms by default. A frame has a thousand short
# calls, and a thread whose core sleeps loses the lock at each of them: frames of two threads took 95 ms, with this 50.
SWITCH_SECONDS = 1e-3


@dataclass(frozen=True)
class Drawn:
    """picture: uint8 [H,W,3], None where none was drawn; seconds: of work."""

    picture: np.ndarray | None
    seconds: float


@dataclass(frozen=True)
class PendingFrame:
    """A frame of the time line that is on its way.

    at: position of its sound; due: when it is shown, by the clock; motion_seconds: of work before it was drawn.
    """

    index: int
    at: int
    due: float
    motion_seconds: float
    drawing: Future[Drawn] | None


class FrameDrawer:
    """Draws frames by `draw`, motion [1,M] of each face -> uint8 [H,W,3], on the threads of `executor`.

    frame_rate: says which frames are drawn, and hears what they cost. now: the clock.
    """

    def __init__(
        self,
        draw: Callable[[list[Tensor]], np.ndarray],
        frame_rate: FrameRate,
        executor: Executor,
        now: Callable[[], float],
    ) -> None:
        self._draw, self.frame_rate, self._executor, self._now = draw, frame_rate, executor, now
        self._undrawn = 0  # frames since the last one that was drawn

    def begin(
        self, index: int, at: int, due: float, motions: list[Tensor] | None, motion_seconds: float, is_newest: bool
    ) -> PendingFrame:
        """Let a frame be drawn; motions None: nobody knows what it shows. is_newest: no later one is known yet."""
        drawing = None
        if motions is not None:
            drawing = self._executor.submit(self._draw_in_time, index, due, motions, is_newest)
        return PendingFrame(index, at, due, motion_seconds, drawing)

    def finish(self, frame: PendingFrame) -> tuple[np.ndarray | None, bool]:
        """Wait for a frame, in order: its picture, None if it is not drawn, and whether the frame rate has changed."""
        drawn = Drawn(None, 0.0) if frame.drawing is None else frame.drawing.result()
        self._undrawn = self._undrawn + 1 if drawn.picture is None else 0
        is_late = self._now() > frame.due + LATE_SECONDS
        return drawn.picture, self.frame_rate.record(frame.motion_seconds, drawn.seconds, is_late)

    def close(self) -> None:
        """End the threads; frames that are not begun are dropped."""
        self._executor.shutdown(cancel_futures=True)

    def _draw_in_time(self, index: int, due: float, motions: list[Tensor], is_newest: bool) -> Drawn:
        begin = self._now()
        is_overdue = is_newest and self._undrawn >= MAX_UNDRAWN_FRAMES
        if not is_overdue and (begin > due + LATE_SECONDS or not self.frame_rate.draws(index)):
            return Drawn(None, 0.0)
        return Drawn(self._draw(motions), self._now() - begin)


def drawing_threads(device: torch.device) -> int:
    """How many frames of a face are drawn at the same time on a device."""
    return min(torch.get_num_threads(), MAX_WORKERS) if device.type == "cpu" else 1


def thread_pool(workers: int) -> Executor:
    """Threads that draw; each layer stays on one of them. Threads of this process take turns quickly from now on."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
    return ThreadPoolExecutor(workers, "face", initializer=torch.set_num_threads, initargs=(1,))
