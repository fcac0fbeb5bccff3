"""Blinks at random times, with the measured time course of a blink."""

from __future__ import annotations

import torch
from torch import Tensor

from anitalker.config import FPS
from anitalker.network_config import GeneratorConfig

MIN_INTERVAL_FRAMES = 30  # 1.2 s between the beginnings of two blinks, and before the first


class Blinks:
    """Blinks at random times, to be added to the motion.

    Blinks are rare, quick and alike in everybody, so a measured course serves better than what a small network learns
    from some hundred examples. They begin at least MIN_INTERVAL_FRAMES apart; the rest of the waiting time is
    exponential. config holds their course and mean interval; rng is a CPU generator.
    """

    def __init__(self, config: GeneratorConfig, rng: torch.Generator, device: torch.device | str) -> None:
        self.course = torch.tensor(config.blink, device=device).reshape(-1, config.motion_size)
        self.mean_excess = max(0.0, config.blink_every * FPS - MIN_INTERVAL_FRAMES)  # frames
        self.rng = rng
        self.next_begin = self._draw_interval()
        self.begins: list[int] = []  # frames at which blinks begin that are not over

    def _draw_interval(self) -> int:
        return MIN_INTERVAL_FRAMES + int(self.mean_excess * float(torch.empty(1).exponential_(generator=self.rng)))

    def __call__(self, first: int, frames: int) -> Tensor:
        """What to add to frames first, first + 1, ...: [1,frames,M]. Call for consecutive ranges of frames."""
        offsets, length = self.course.new_zeros(1, frames, self.course.shape[1]), len(self.course)
        while length and self.next_begin < first + frames:
            self.begins.append(self.next_begin)
            self.next_begin += self._draw_interval()
        self.begins = [begin for begin in self.begins if begin + length > first]
        for begin in self.begins:
            low, high = max(begin, first), min(begin + length, first + frames)
            offsets[0, low - first : high - first] += self.course[low - begin : high - begin]
        return offsets

    def loop(self, frames: int) -> Tensor:
        """What to add to the frames of a loop: [frames,M]. A blink that is not over at its end goes on at its start.

        Call it once, in place of a call for a range.
        """
        offsets, length = self(0, frames)[0], len(self.course)
        self.next_begin = frames + length  # no other one begins in what follows
        rest = self(frames, length)[0]
        offsets.index_add_(0, torch.arange(length, device=offsets.device) % frames, rest)
        return offsets
