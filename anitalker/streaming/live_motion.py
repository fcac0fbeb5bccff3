"""Motion for speech that is still arriving: lips from what is known a few frames ahead, head and lids in short windows.

Letters: t frames of speech in a piece, L frames of look-ahead, S speech features, M motion numbers.

Made frame by frame in the manner of `MotionStream`, lips lean on lips made before and lose their way (correlation on 8
val clips, codes, three frames of look-ahead: .34). Here every frame's lips are the network's mean over the last PAST
frames, begun anew at the portrait (.37), and moved half a frame ahead, because estimates at the end of a window come
late (.39; with the level measured as it arrives .44, with two frames .43, with four .45; whole recordings .45). Head
and lids do not follow single sounds: for them short windows do, with a low pass for the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from anitalker.config import POSE_SIZE
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.lip_policy import amplify, ease_in, guided_mean
from anitalker.motion.windows import MotionStream, SamplingParams
from anitalker.streaming.cached_generator import CachedGenerator, ConvCache

PAST = 64  # frames of speech behind a frame that its lips are heard from (2.6 s; 100 gain nothing, 30 lose .03)
SLOW = 2.5  # frames, deviation of the one-sided Gaussian over the head's course: it comes 2 frames later, and calm
REACH = 8  # frames of it


class LiveMotion:
    """Motion frame by frame: a frame leaves when `lookahead` frames of speech after it are known.

    As `MotionStream`: network; start [1,M] the portrait's code; rng a CPU generator; wishes.
    """

    def __init__(
        self, network: MotionGenerator, start: Tensor, rng: torch.Generator, wishes: SamplingParams, lookahead: int
    ) -> None:
        self.network, self.start, self.wishes, self.lookahead = (
            CachedGenerator(network, start),
            start,
            wishes,
            lookahead,
        )
        encoders = [self.network] if self.network.lips is None else [self.network, self.network.lips]
        self.heard = [ConvCache(encoder.encode_speech, encoder.reach, PAST) for encoder in encoders]
        # Its windows are full just when the first frame of each may leave. Guidance is for the lips: without it heads
        # sway as far (2.17 degrees, 2.12 with it; 8 val clips, two seeds) and calmer (jerk .088, .101).
        calm = replace(wishes, guidance=1.0)
        self.slow = MotionStream(self.network, start, rng, calm, window=lookahead + 1, lookahead=0)
        self.speech = start.new_zeros(1, 0, network.config.speech_size)  # of the last PAST frames, and what is ahead
        self.waiting = start.new_zeros(1, 0, start.shape[-1])  # motion of `slow` that is ahead of the lips
        self.course = start[:, None].expand(1, REACH, -1)  # the head's last places
        self.made = self.dropped = 0  # frames that left; frames before the first of `speech`
        self.begin = network.normalise(start[:, None], start)
        self.deaf: dict[tuple[int, int], Tensor] = {}  # what the network makes of no speech, by frames heard and place
        for count in range(2, PAST + 1):  # all that will be asked for but at the end, so that no frame waits for it
            self._unheard(count, max(1, count - 1 - lookahead))

    def push(self, speech: Tensor, last: bool = False) -> Tensor:
        """Speech features [1,t,S], the next t frames -> motion [1,k,M] that is now ready; last: all that remains."""
        return torch.cat([self.waiting[:, :0], *self.frames(speech, last)], 1)

    def frames(self, speech: Tensor, last: bool = False) -> Iterator[Tensor]:
        """The same frame by frame, [1,1,M] each, made as they are asked for: ask for all of them."""
        with torch.no_grad():
            self.speech = torch.cat([self.speech, speech.to(self.start)], 1)
            self.waiting = torch.cat([self.waiting, self.slow.push(speech, last)], 1)
        known = self.dropped + self.speech.shape[1]
        ready = known if last else min(known - self.lookahead, self.made + self.waiting.shape[1])
        if not self.made and known:
            ready = max(ready, 1)  # the first frame of all is the portrait itself
        for k in range(self.made, ready):
            yield self._next(min(k + self.lookahead + 1, known))

    @torch.no_grad()
    def _next(self, end: int) -> Tensor:
        """The next frame [1,1,M], from speech before frame `end`."""
        whole, self.waiting = self.waiting[:, :1], self.waiting[:, 1:]
        if self.made and end > 1:
            lips = self._lips(end)
            normal = self.network.normalise(whole, self.start)
            change = (lips - normal) @ self.network.spoken * ease_in(self.made)
            whole = self.network.denormalise(normal + change, self.start)
        known = self.dropped + self.speech.shape[1]
        behind = max(0, min(self.made + 1 + self.lookahead, known) - PAST - self.dropped)
        self.speech, self.dropped = self.speech[:, behind:], self.dropped + behind
        self.made += 1
        return self._calm(whole)

    def _lips(self, end: int) -> Tensor:
        """Lips of the next frame, normalised [1,1,M], from the PAST frames before frame `end`: the guided mean of it
        and of the frame after it."""
        network, (inner, *others) = self.network, [one(self.speech, self.dropped, end) for one in self.heard]
        count = inner.shape[1]
        at = self.made - (end - count)
        rows = _pair(at, count)
        mean = network.estimate(inner, self.begin, count, rows)
        regression = None if network.lips is None else network.lips.decode(others[0], rows)
        mean = guided_mean(mean, regression, self._unheard(count, at), self.wishes.guidance)
        mean = amplify(mean, -network.mean / network.std, network.spoken)
        return mean.mean(1, keepdim=True)

    @torch.no_grad()
    def _unheard(self, count: int, at: int) -> Tensor:
        """What is left of the lips of frame `at` of `count` without the speech; the same for every such window."""
        if (count, at) not in self.deaf:
            self.deaf[count, at] = self.network.estimate(None, self.begin, count, _pair(at, count))
        return self.deaf[count, at]

    def _calm(self, frame: Tensor) -> Tensor:
        """The head a little later and without tremble; where it is asked for by file, or held, as it is."""
        self.course = torch.cat([self.course[:, 1:], frame], 1)
        if self.wishes.still or self.wishes.pose is not None:
            return frame
        age = torch.arange(REACH - 1, -1, -1, device=frame.device, dtype=frame.dtype)
        share = torch.exp(-0.5 * (age / SLOW) ** 2)[:, None]
        head = (self.course[..., :POSE_SIZE] * share).sum(1, keepdim=True) / share.sum()
        return torch.cat([head, frame[..., POSE_SIZE:]], -1)


def _pair(at: int, count: int) -> tuple[int, int]:
    """Rows of a frame of `count` and of the one after it; estimates begin at the second frame."""
    return max(at, 1), min(at + 2, count)
