"""The energy of speech in head and brows: heads range as far as those of filmed speakers, and nod where the voice sets
in, with brows a little raised.

The generator's heads are calmer than real ones, because a mean of many motions is; factors bring their spread back.
Heads and brows of speakers move with stressed syllables (Hadar et al. 1983, "Head movement correlates of juncture and
stress at sentence level"; Cave et al. 1996, "About the relationship between eyebrow movements and F0 variations").
Onsets are the spectral flux of the speech features (Boeck and Widmer 2013, eq. 2, without the vibrato filter).

Letters: k frames, S speech features, M motion numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.motion.lip_policy import ease_in

HEAD_RANGE = (1.75, 1.75, 1.25)  # of yaw, pitch and roll about the portrait's own, over the generator's
NOD_RADIANS = 0.06  # downwards, of an onset as strong as usual
MAX_ONSET = 3.0  # times the usual
BROW_RAISE = 0.06  # of the named expression, likewise
RISE_FRAMES = 4.0  # of each of two low-pass filters: a nod is deepest after as long, 0.1 s
SLOW_FRAMES = 25.0  # of the mean that a nod is measured against: heads do not sink while somebody talks
MEMORY_FRAMES = 100.0  # of the usual onset
QUIET = 0.05  # flux below which nobody speaks


class Emphasis:
    """Adds emphasis to motion that arrives in pieces.

    start [1,M]: the portrait's code; free: whether yaw, pitch and roll are the generator's, not an option's; brows
    [1,M]: code that raises the brows by one; mels: how many of the features, the first ones, are the log-mel bands of a
    frame's `hops` hops.
    """

    def __init__(self, start: Tensor, free: Sequence[bool], brows: Tensor, mels: int, hops: int) -> None:
        self.start, self.brows, self.mels, self.hops = start, brows, mels, hops
        factors = [factor - 1 if is_free else 0.0 for factor, is_free in zip(HEAD_RANGE, free, strict=True)]
        self.factors, self.nod = start.new_tensor(factors), NOD_RADIANS if free[1] else 0.0
        self.last_hop: Tensor | None = None  # [mels / hops]
        self.usual, self.first, self.second, self.slow = QUIET, 0.0, 0.0, 0.0

    def __call__(self, motion: Tensor, speech: Tensor, frame: int) -> Tensor:
        """Motion [1,k,M] from frame number `frame` on, and its speech [1,k,S] -> [1,k,M]."""
        stress = [self._stress(flux) for flux in self._flux(speech[0]).tolist()]
        strength = motion.new_tensor(stress) * ease_in(torch.arange(frame, frame + len(stress))).to(motion)
        emphasised = motion.clone()
        emphasised[..., :3] += (motion[..., :3] - self.start[:, :3]) * self.factors
        emphasised[..., 1] += self.nod * strength
        return emphasised + BROW_RAISE * strength.clamp(min=0)[:, None] * self.brows

    def _flux(self, speech: Tensor) -> Tensor:
        """How much the bands rise from hop to hop, mean over bands and a frame's hops: [k,S] -> [k]."""
        hops = speech[:, : self.mels].unflatten(1, (self.hops, -1)).flatten(0, 1)
        if not len(hops):
            return speech.new_zeros(0)
        before = hops[:1] if self.last_hop is None else self.last_hop[None]
        self.last_hop = hops[-1]
        return F.relu(hops.diff(dim=0, prepend=before)).mean(1).unflatten(0, (-1, self.hops)).mean(1)

    def _stress(self, flux: float) -> float:
        """The nod of a frame, about -1 to MAX_ONSET: onsets over the usual one, filtered."""
        if flux > QUIET:
            self.usual += (flux - self.usual) / MEMORY_FRAMES
        onset = min(flux / self.usual, MAX_ONSET)
        self.first += (onset - self.first) / RISE_FRAMES
        self.second += (self.first - self.second) / RISE_FRAMES
        self.slow += (self.second - self.slow) / SLOW_FRAMES
        return self.second - self.slow
