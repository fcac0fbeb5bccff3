"""Speech features of samples as they arrive, equal to those of the whole recording."""

from __future__ import annotations

from collections import deque
from typing import cast

import torch
from torch import Tensor

from anitalker.config import SAMPLE_RATE
from encoders import audio
from encoders.speech import RunningStats, SpeechFeatures

# Samples on either side of a frame that its features depend on.
CONTEXT_SAMPLES = (audio.PITCH_WINDOW - audio.SAMPLES_PER_FRAME) // 2
LEVEL_MEMORY_BLOCKS = 60 * SAMPLE_RATE // audio.BLOCK_STEP  # a minute of sound, from which the level is measured


class StreamingSpeechFeatures:
    """Samples as they arrive -> speech features of whole video frames, as `SpeechFeatures` gives for the whole.

    level: loudness of the speech in dB of full scale. None: measured on the sound so far, so that the first second is
    a guess.
    """

    def __init__(self, features: SpeechFeatures, level: float | None = None) -> None:
        self.features, self.level, self.stats = features, level, RunningStats()
        self.waiting = torch.zeros(0)  # samples from one frame before the next frame on
        self.context_frames = 0  # frames in `waiting` whose features are done: 0 at first, then 1
        self.block_powers: deque[float] = deque(maxlen=LEVEL_MEMORY_BLOCKS)
        self.partial_block = torch.zeros(0)  # less than BLOCK_STEP samples, not yet in `block_powers`

    @torch.inference_mode()
    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Samples [n] in -1..1 -> features [1,t,S] of the frames that are complete; last: of all that remain."""
        self._measure_level(samples)
        self.waiting = torch.cat([self.waiting, samples * self.gain()])
        size = audio.SAMPLES_PER_FRAME
        known = audio.frame_count(len(self.waiting)) if last else max(0, len(self.waiting) - CONTEXT_SAMPLES) // size
        if known <= self.context_frames:
            return torch.zeros(1, 0, self.features.size)
        waveform = self.waiting[None].to(cast(Tensor, self.features.window).device)
        rows = slice(self.context_frames * self.features.per_frame, known * self.features.per_frame)
        log_mel = self.features.log_mel(waveform)[:, rows]
        pitch = self.features.pitch(waveform)[:, self.context_frames : known]
        features = self.features.assemble(log_mel, pitch, self.stats)
        self.waiting, self.context_frames = self.waiting[(known - 1) * size :], 1
        return features

    def gain(self) -> float:
        """Factor that brings the speech to the level of the training data."""
        level = self.level
        if level is None and len(self.block_powers) >= audio.BLOCK // audio.BLOCK_STEP:
            level = audio.gated_level(torch.tensor(self.block_powers, dtype=torch.float64))
        return 1.0 if level is None else 10 ** (min(audio.SPEECH_LEVEL - level, audio.MAX_GAIN) / 20)

    def _measure_level(self, samples: Tensor) -> None:
        if self.level is not None:
            return
        samples = torch.cat([self.partial_block, samples])
        count = len(samples) // audio.BLOCK_STEP
        blocks, self.partial_block = samples[: count * audio.BLOCK_STEP], samples[count * audio.BLOCK_STEP :]
        if count:
            self.block_powers.extend(blocks.unflatten(0, (count, audio.BLOCK_STEP)).square().mean(1).tolist())
