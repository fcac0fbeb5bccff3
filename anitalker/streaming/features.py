"""Speech features of samples as they arrive, equal to those of the whole recording."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from anitalker.config import SAMPLE_RATE
from encoders import audio
from encoders.speech import RunningStats, SpeechFeatures

CONTEXT_SAMPLES = (
    audio.PITCH_WINDOW - audio.SAMPLES_PER_FRAME
) // 2  # samples on either side that a frame's features touch
LEVEL_MEMORY = 60 * SAMPLE_RATE // audio.BLOCK_STEP  # pieces of sound that the level is taken from: a minute


class StreamingSpeechFeatures:
    """Samples as they arrive -> speech features of whole video frames, as `SpeechFeatures` makes of the whole.

    level: of the speech, dB of full scale; None: measured on what was heard so far, so the first second is a guess.
    """

    def __init__(self, features: SpeechFeatures, level: float | None = None) -> None:
        self.features, self.level, self.stats = features, level, RunningStats()
        self.waiting = torch.zeros(0)  # from one frame before the next on
        self.before = 0  # frames in `waiting` that are done: 0 at first, then 1
        self.loud: deque[float] = deque(maxlen=LEVEL_MEMORY)
        self.piece = torch.zeros(0)  # less than BLOCK_STEP samples, not yet in `loud`

    @torch.inference_mode()
    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Samples [n] in -1..1 -> features [1,t,S] of the frames that are known now; last: of all that remain."""
        self._measure(samples)
        self.waiting = torch.cat([self.waiting, samples * self.gain()])
        size = audio.SAMPLES_PER_FRAME
        known = audio.frame_count(len(self.waiting)) if last else max(0, len(self.waiting) - CONTEXT_SAMPLES) // size
        if known <= self.before:
            return torch.zeros(1, 0, self.features.size)
        near = self.waiting[None].to(self.features.window.device)
        rows = slice(self.before * self.features.per_frame, known * self.features.per_frame)
        made = self.features.assemble(
            self.features.log_mel(near)[:, rows], self.features.pitch(near)[:, self.before : known], self.stats
        )
        self.waiting, self.before = self.waiting[(known - 1) * size :], 1
        return made

    def gain(self) -> float:
        """Factor that brings the speech to the level of the training."""
        level = self.level
        if level is None and len(self.loud) >= audio.BLOCK // audio.BLOCK_STEP:
            level = audio.gated_level(torch.tensor(self.loud, dtype=torch.float64))
        return 1.0 if level is None else 10 ** (min(audio.SPEECH_LEVEL - level, audio.MAX_GAIN) / 20)

    def _measure(self, samples: Tensor) -> None:
        if self.level is not None:
            return
        self.piece = torch.cat([self.piece, samples])
        whole = len(self.piece) // audio.BLOCK_STEP
        blocks, self.piece = self.piece[: whole * audio.BLOCK_STEP], self.piece[whole * audio.BLOCK_STEP :]
        self.loud.extend(blocks.unflatten(0, (whole, audio.BLOCK_STEP)).square().mean(1).tolist() if whole else [])
