"""Low-latency motion for arriving speech: lips from a short look-ahead, head and lids in short windows.

Letters: t frames of speech in a piece, S speech features, M motion numbers.

If lips were generated frame by frame as in `MotionStream`, each frame would lean on the lips before it, and they would
drift. Here the lips of every frame are the network's mean over the last CONTEXT_FRAMES, always begun at the portrait.
With two frames of look-ahead they correlate with the true lips of unseen people by .54 (filmed; whole recordings .58)
and .59 (generated; .62), read from the codes. Head and lids do not follow single sounds: short windows suffice for
them, with a low-pass filter for the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from anitalker.config import POSE_SIZE
from anitalker.motion import samplers
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.lip_policy import amplify, ease_in
from anitalker.motion.windows import MotionStream, SamplingParams
from anitalker.streaming.cached_generator import CachedGenerator, ConvCache

CONTEXT_FRAMES = 64  # 2.6 s of past speech from which lips are estimated (100 gain nothing, 30 lose .03)
# Standard deviation of the one-sided Gaussian filter over the head's path. It delays the head by 2 frames.
HEAD_FILTER_STD_FRAMES = 2.5
HEAD_FILTER_FRAMES = 8  # length of that filter


class LiveMotion:
    """Motion frame by frame: a frame leaves when `lookahead` frames of speech after it are known.

    As in `MotionStream`: network; start [1,M], the portrait's code; rng, a CPU generator; params.
    """

    def __init__(
        self, network: MotionGenerator, start: Tensor, rng: torch.Generator, params: SamplingParams, lookahead: int
    ) -> None:
        self.network, self.start = CachedGenerator(network, start), start
        self.params, self.lookahead = params, lookahead
        encoder = self.network.lips or self.network  # of the speech, for the lips
        self.speech_cache = ConvCache(encoder.encode_speech, encoder.radius, CONTEXT_FRAMES)
        # A window is full just when its first frame may leave. Guidance is for the lips: without it heads sway as far
        # (2.17 degrees, with it 2.12; 8 validation clips, two seeds) and more calmly (jerk .088, with it .101).
        unguided = replace(params, guidance=1.0)
        self.windowed = MotionStream(self.network, start, rng, unguided, window=lookahead + 1, lookahead=0)
        self.speech = start.new_zeros(1, 0, network.config.speech_size)  # last CONTEXT_FRAMES and the look-ahead
        self.waiting = start.new_zeros(1, 0, self.windowed.size)  # motion of `windowed` whose lips are not known yet
        self.head_history = start[:, None].expand(1, HEAD_FILTER_FRAMES, -1)
        self.frame_count = self.dropped = 0  # frames that have left; frames before the first of `speech`
        self.begin = network.normalise(start[:, None], start)
        # Estimates without speech, by the number of frames and the frame's index among them. All that occur before the
        # end of the speech are computed here, so that no frame waits for them.
        self.unconditional_means: dict[tuple[int, int], Tensor] = {}
        for count in range(2, CONTEXT_FRAMES + 1) if self.network.lips is None else ():
            self._unconditional_mean(count, max(1, count - 1 - lookahead))

    @property
    def size(self) -> int:
        """Numbers of a frame: of its code, and of its gaze if there is any."""
        return self.windowed.size

    def push(self, speech: Tensor, last: bool = False) -> Tensor:
        """Speech features [1,t,S] of the next t frames -> motion [1,k,M] that is now ready; last: all that remains."""
        return torch.cat([self.waiting[:, :0], *self.frames(speech, last)], 1)

    def frames(self, speech: Tensor, last: bool = False) -> Iterator[Tensor]:
        """As `push`, frame by frame, [1,1,M] each, generated on demand. Consume all of them before the next call."""
        with torch.no_grad():
            self.speech = torch.cat([self.speech, speech.to(self.start)], 1)
            self.waiting = torch.cat([self.waiting, self.windowed.push(speech, last)], 1)
        known = self.dropped + self.speech.shape[1]
        ready = known if last else min(known - self.lookahead, self.frame_count + self.waiting.shape[1])
        if not self.frame_count and known:
            ready = max(ready, 1)  # the first frame of all is the portrait itself
        for k in range(self.frame_count, ready):
            yield self._next_frame(min(k + self.lookahead + 1, known))

    @torch.no_grad()
    def _next_frame(self, end: int) -> Tensor:
        """The next frame [1,1,M], from speech before frame `end`."""
        size = self.start.shape[-1]
        frame, gaze, self.waiting = self.waiting[:, :1, :size], self.waiting[:, :1, size:], self.waiting[:, 1:]
        if self.frame_count and end > 1:
            lips = self._lips(end)
            normalised = self.network.normalise(frame, self.start)
            change = (lips - normalised) @ self.network.spoken * ease_in(self.frame_count)
            frame = self.network.denormalise(normalised + change, self.start)
        known = self.dropped + self.speech.shape[1]
        excess = max(0, min(self.frame_count + 1 + self.lookahead, known) - CONTEXT_FRAMES - self.dropped)
        self.speech, self.dropped = self.speech[:, excess:], self.dropped + excess
        self.frame_count += 1
        return torch.cat([self._smooth_head(frame), gaze], -1)

    def _lips(self, end: int) -> Tensor:
        """Lips of the next frame, normalised [1,1,M], from the CONTEXT_FRAMES before frame `end`."""
        network = self.network
        encoded_speech = self.speech_cache(self.speech, self.dropped, end)
        count = encoded_speech.shape[1]
        index = self.frame_count - (end - count)
        frames = _frame_range(index)
        if network.lips is None:
            mean = network.estimate(encoded_speech, self.begin, count, frames)
            mean = samplers.guide(mean, self._unconditional_mean(count, index), self.params.guidance)
        else:
            mean = network.lips.decode(encoded_speech, frames)
        manner = self.params.manner
        mean = amplify(mean, -network.mean / network.std, network.spoken, manner.lips)
        return mean if manner.rest is None else mean + manner.rest.to(mean) / network.std

    @torch.no_grad()
    def _unconditional_mean(self, count: int, index: int) -> Tensor:
        """The estimate without speech of frame `index` of `count`; the same for every such window."""
        if (count, index) not in self.unconditional_means:
            frames = _frame_range(index)
            self.unconditional_means[count, index] = self.network.estimate(None, self.begin, count, frames)
        return self.unconditional_means[count, index]

    def _smooth_head(self, frame: Tensor) -> Tensor:
        """Low-pass filter the head's path, unless a pose file or `still` decides on it."""
        self.head_history = torch.cat([self.head_history[:, 1:], frame], 1)
        if self.params.still or self.params.pose is not None:
            return frame
        age = torch.arange(HEAD_FILTER_FRAMES - 1, -1, -1, device=frame.device, dtype=frame.dtype)
        weight = torch.exp(-0.5 * (age / HEAD_FILTER_STD_FRAMES) ** 2)[:, None]
        head = (self.head_history[..., :POSE_SIZE] * weight).sum(1, keepdim=True) / weight.sum()
        return torch.cat([head, frame[..., POSE_SIZE:]], -1)


def _frame_range(index: int) -> tuple[int, int]:
    """Range of a frame; estimates begin at the second one."""
    return max(index, 1), max(index, 1) + 1
