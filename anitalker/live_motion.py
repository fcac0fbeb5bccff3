"""Motion for speech that is still arriving: lips from what is known a few frames ahead, head and lids in short windows.

Letters: t frames of speech in a piece, L frames of look-ahead, S speech features, M motion numbers.

Made frame by frame in the manner of `MotionStream`, lips lean on lips made before and lose their way (correlation on 8
val clips, codes, three frames of look-ahead: .34). Here every frame's lips are the network's mean over the last PAST
frames, begun anew at the portrait (.37), and moved half a frame ahead, because estimates at the end of a window come
late (.39; with the level measured as it arrives .44, with two frames .43, with four .45; whole recordings .45). Head
and lids do not follow single sounds: for them short windows do, with a low pass for the head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anitalker import diffusion
from anitalker.config import POSE_SIZE
from anitalker.generator import CONTROLS, LEAVE, LIPS_SHARE, WIDER, MotionGenerator, MotionStream, Wishes, _ease

PAST = 64  # frames of speech behind a frame that its lips are heard from (2.6 s; 100 gain nothing, 30 lose .03)
SLOW = 2.5  # frames, deviation of the one-sided Gaussian over the head's course: it comes 2 frames later, and calm
REACH = 8  # frames of it


class LiveMotion:
    """Motion frame by frame: a frame leaves when `lookahead` frames of speech after it are known.

    As `MotionStream`: network; start [1,M] the portrait's code; rng a CPU generator; wishes.
    """

    def __init__(
        self, network: MotionGenerator, start: Tensor, rng: torch.Generator, wishes: Wishes, lookahead: int
    ) -> None:
        self.network, self.start, self.wishes, self.lookahead = network, start, wishes, lookahead
        # Its windows are full just when the first frame of each may leave.
        self.slow = MotionStream(network, start, rng, wishes, window=lookahead + 1, lookahead=0)
        self.speech = start.new_zeros(1, 0, network.config.speech_size)  # of the last PAST frames, and what is ahead
        self.waiting = start.new_zeros(1, 0, start.shape[-1])  # motion of `slow` that is ahead of the lips
        self.course = start[:, None].expand(1, REACH, -1)  # the head's last places
        self.made = self.dropped = 0  # frames that left; frames before the first of `speech`
        self.deaf: Tensor | None = None  # what the network makes of no speech: the same for every window as long

    @torch.no_grad()
    def push(self, speech: Tensor, last: bool = False) -> Tensor:
        """Speech features [1,t,S], the next t frames -> motion [1,k,M] that is now ready; last: all that remains."""
        speech = speech.to(self.start)
        self.speech = torch.cat([self.speech, speech], 1)
        self.waiting = torch.cat([self.waiting, self.slow.push(speech, last)], 1)
        known = self.dropped + self.speech.shape[1]
        ready = known if last else min(known - self.lookahead, self.made + self.waiting.shape[1])
        if not self.made and known:
            ready = max(ready, 1)  # the first frame of all is the portrait itself
        pieces = [self._next(min(k + self.lookahead + 1, known)) for k in range(self.made, ready)]
        return torch.cat(pieces, 1) if pieces else self.waiting[:, :0]

    def _next(self, end: int) -> Tensor:
        """The next frame [1,1,M], from speech before frame `end`."""
        whole, self.waiting = self.waiting[:, :1], self.waiting[:, 1:]
        first = max(self.dropped, end - PAST)
        heard = self.speech[:, first - self.dropped : end - self.dropped]
        if self.made and heard.shape[1] > 1:
            lips = self._lips(heard, self.made - first)
            normal = self.network.normalise(whole, self.start)
            change = (lips - normal) @ self.network.spoken * _ease(torch.tensor(self.made / LEAVE))
            whole = self.network.denormalise(normal + change, self.start)
        behind = max(0, self.made + 1 + self.lookahead - PAST - self.dropped)
        self.speech, self.dropped = self.speech[:, behind:], self.dropped + behind
        self.made += 1
        return self._calm(whole)

    def _lips(self, heard: Tensor, at: int) -> Tensor:
        """Lips of frame `at` of heard [1,n,S], normalised [1,1,M]: the guided mean of it and of the frame after it."""
        network = self.network
        inner = network.hear(heard)
        if self.deaf is not None and self.deaf.shape[1] == heard.shape[1] - 1:
            mean = self._estimate(inner, torch.tensor([False]))
        else:
            mean, self.deaf = self._estimate(inner.expand(2, -1, -1), torch.tensor([False, True])).chunk(2)
        if network.lips is not None:
            mean = mean + LIPS_SHARE * (network.lips(heard)[:, 1:] - mean)
        mean = diffusion.guide(mean, self.deaf, self.wishes.guidance)
        mean = mean + (WIDER - 1) * (mean + network.mean / network.std) @ network.spoken
        return mean[:, max(at - 1, 0) : at + 1].mean(1, keepdim=True)  # estimates begin at the second frame heard

    def _estimate(self, heard: Tensor, deaf: Tensor) -> Tensor:
        """The network's mean of all motions from the portrait on that fit, normalised: heard [B,n,W] -> [B,n-1,M]."""
        (batch, count), start = heard.shape[:2], self.start.expand(len(heard), -1)
        begin = self.network.normalise(start[:, None], start)
        free, noisy = heard.new_zeros(batch, count, len(CONTROLS)), heard.new_zeros(batch, count - 1, start.shape[1])
        return self.network(noisy, heard.new_zeros(batch), heard, start, begin, free, free, deaf.to(heard.device))

    def _calm(self, frame: Tensor) -> Tensor:
        """The head a little later and without tremble; where it is asked for by file, or held, as it is."""
        self.course = torch.cat([self.course[:, 1:], frame], 1)
        if self.wishes.still or self.wishes.pose is not None:
            return frame
        age = torch.arange(REACH - 1, -1, -1, device=frame.device, dtype=frame.dtype)
        share = torch.exp(-0.5 * (age / SLOW) ** 2)[:, None]
        head = (self.course[..., :POSE_SIZE] * share).sum(1, keepdim=True) / share.sum()
        return torch.cat([head, frame[..., POSE_SIZE:]], -1)
