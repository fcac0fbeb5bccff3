"""Is this a recording of speech that we can speak along with? Warnings in words, never a refusal.

Simple measures over the whole recording at 16 kHz; docs/inputs.md says what they were measured on.
"""

from __future__ import annotations

import numpy as np

from anitalker.config import SAMPLE_RATE

FRAME = SAMPLE_RATE // 25  # samples, 40 ms
QUIET = -50.0  # dB of full scale: below, a frame counts as silence
LEAD = 3.0  # seconds of silence before the first sound that are worth a word
FAINT = -45.0  # dB of full scale of the sounding frames
CLIPPED = 0.01  # share of samples at full scale
PAUSES = 0.10  # share of low-energy frames, below which a recording has no syllables
SHORTEST = 4.0  # seconds: what is shorter is not judged as music


def audio_warnings(samples: np.ndarray) -> list[str]:
    """What may spoil the result, each in one sentence; [N] float32 at 16 kHz in -1..1. Empty for good speech."""
    power = frame_power(samples)
    level = 10 * np.log10(power + 1e-12)
    sounding = level > QUIET
    if not sounding.any():
        return ["the recording is silent: the lips will stay shut"]
    found = []
    lead = int(sounding.argmax()) * FRAME / SAMPLE_RATE
    if lead >= LEAD:
        found.append(f"the recording begins with {lead:.0f} s of silence, and so does the video; cut it off")
    loudness = float(10 * np.log10(power[sounding].mean()))
    if loudness < FAINT:
        found.append(f"the recording is very faint ({loudness:.0f} dB); its noise may move the lips")
    blocks = range(0, len(samples), 1 << 22)
    if sum(np.count_nonzero(np.abs(samples[at : at + (1 << 22)]) > 0.999) for at in blocks) > CLIPPED * len(samples):
        found.append("the recording is overdriven (clipped); lips may follow it less well")
    if sounding.sum() * FRAME / SAMPLE_RATE >= SHORTEST and low_energy_share(power) < PAUSES:
        found.append("this sounds like music or steady noise rather than speech; lips follow speech alone")
    return found


def frame_power(samples: np.ndarray) -> np.ndarray:
    """Mean power of frames of 40 ms, [N] -> [N // FRAME], at least one."""
    if len(samples) < FRAME:
        samples = np.pad(samples, (0, FRAME - len(samples)))
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return np.einsum("nf,nf->n", frames, frames) / FRAME


def low_energy_share(power: np.ndarray) -> float:
    """Share of frames with less than a quarter of the mean power of the second around them, where there is sound.

    The low short-time energy ratio of Lu, Zhang and Jiang, "Content analysis for audio classification and
    segmentation", 2002, equation 2: syllables rise and fall, music and noise stay.
    """
    reach = 25
    padded = np.pad(power, (reach // 2, reach - 1 - reach // 2), "reflect") if len(power) > reach else power
    sums = np.concatenate([[0.0], np.cumsum(padded, dtype=np.float64)])
    mean = (sums[reach:] - sums[:-reach]) / reach if len(power) > reach else np.full(len(power), power.mean())
    alive = mean > 10 ** (QUIET / 10)
    return float((power < 0.25 * mean)[alive].mean()) if alive.any() else 1.0
