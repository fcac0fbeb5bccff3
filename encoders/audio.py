"""Waveforms before features: every audio constant with its unit, mono, resampling, and the level of speech."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLE_RATE = 16_000  # Hz
FPS = 25  # video frames per second
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS  # 640
assert SAMPLES_PER_FRAME * FPS == SAMPLE_RATE
MEL_PER_FRAME = 4  # mel frames per video frame
HOP = SAMPLES_PER_FRAME // MEL_PER_FRAME  # 160 samples = 10 ms
assert HOP * MEL_PER_FRAME == SAMPLES_PER_FRAME
WINDOW = SAMPLE_RATE // 40  # 400 samples = 25 ms
F_MIN, F_MAX = 60.0, SAMPLE_RATE / 2  # Hz, edges of the mel scale
PITCH_WINDOW = 1024  # samples = 64 ms, four periods of the lowest voice
PITCH_MIN, PITCH_MAX = 60.0, 400.0  # Hz

BLOCK = SAMPLE_RATE * 4 // 10  # 400 ms blocks of the loudness measurement
BLOCK_STEP = BLOCK // 4
PIECE = 256 * BLOCK_STEP  # samples (26 s) measured at once
SILENCE = -60.0  # dB of full scale: blocks below are no speech
RELATIVE_GATE = -10.0  # dB below the first mean: pauses do not count
SPEECH_LEVEL = -26.0  # dB of full scale: every recording is brought here before its features are taken
MAX_GAIN = 24.0  # dB: a recording fainter than that is mostly its noise


def frame_count(samples: int) -> int:
    """Video frames that cover `samples` of sound: ceil(25 N / 16000)."""
    return -(-samples // SAMPLES_PER_FRAME)


def to_mono(waveform: Tensor, rate: int) -> Tensor:
    """Waveform [N] or [channels,N] at `rate` Hz -> float32 [N'] at 16 kHz, channels averaged."""
    waveform = waveform.float()
    if waveform.ndim == 2:
        waveform = waveform.mean(0)
    if rate == SAMPLE_RATE:
        return waveform
    from torchaudio.functional import resample

    return resample(waveform, rate, SAMPLE_RATE)


def speech_level(waveform: Tensor) -> float | None:
    """Level of the speech in [N] samples, dB of full scale; None if no block is louder than `SILENCE`.

    The gating of ITU-R BS.1770-4 (400 ms blocks, an absolute and a relative gate), without its frequency weighting.
    """
    if waveform.numel() < BLOCK:
        waveform = torch.nn.functional.pad(waveform, (0, BLOCK - waveform.numel()))
    whole = waveform[: waveform.numel() // BLOCK_STEP * BLOCK_STEP]
    pieces = whole.split(PIECE)  # their squares, not those of an hour at once
    return gated_level(torch.cat([x.view(-1, BLOCK_STEP).square().mean(-1, dtype=torch.float64) for x in pieces]))


def gated_level(steps: Tensor) -> float | None:
    """The same from the mean power of pieces of BLOCK_STEP samples, [K], K at least BLOCK / BLOCK_STEP."""
    power = steps.unfold(-1, BLOCK // BLOCK_STEP, 1).mean(-1)
    power = power[power > 10 ** (SILENCE / 10)]
    if not len(power):
        return None
    power = power[power >= power.mean() * 10 ** (RELATIVE_GATE / 10)]
    return 10 * float(power.mean().log10())


def normalise_level(waveform: Tensor) -> Tensor:
    """Bring the speech in [N] samples to `SPEECH_LEVEL`; silence stays silent. For features, not the video's sound."""
    gain = level_gain(waveform)
    return waveform if gain == 1 else waveform * gain


def level_gain(waveform: Tensor) -> float:
    """The factor by which `normalise_level` multiplies [N] samples; 1 for silence."""
    level = speech_level(waveform)
    return 1.0 if level is None else 10 ** (min(SPEECH_LEVEL - level, MAX_GAIN) / 20)
