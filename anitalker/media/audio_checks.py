"""Check whether a recording is speech that lips can follow. There are warnings; nothing is refused.

The whole recording is measured at 16 kHz in frames of 40 ms; docs/inputs.md says on what data the limits were measured.
"""

from __future__ import annotations

import numpy as np
import torch

from anitalker.config import SAMPLE_RATE
from encoders.audio import SAMPLES_PER_FRAME
from encoders.speech import CHUNK_FRAMES, voicing_and_pitch

SILENCE_DBFS = -50.0  # fainter frames are silence
MIN_LEAD_SECONDS = 3.0  # silence at the beginning that is worth a warning
FAINT_DBFS = -45.0  # mean of the frames that are not silence
CLIPPED_AMPLITUDE = 0.999  # a larger sample counts as clipped
MAX_CLIPPED_SHARE = 0.01  # of the samples
MIN_LOW_ENERGY_SHARE = 0.10  # of the frames: a recording with fewer has no syllables
MIN_VOICED_SHARE = 0.05  # of the frames that are not silence: a recording with fewer has no voice
TONE_VOICED_SHARE = 0.9  # a steady tone has more voiced frames ...
TONE_SEMITONES = 1.0  # ... and a smaller range of pitch
MIN_SOUND_SECONDS = 4.0  # in a shorter recording, speech is not told from other sounds
CHUNK_SAMPLES = CHUNK_FRAMES * SAMPLES_PER_FRAME  # measured at a time: bounds the memory of long recordings


def audio_warnings(samples: np.ndarray) -> list[str]:
    """Return what may spoil the result, a sentence each; samples float32 [N] at 16 kHz in -1..1. [] for good speech."""
    power = frame_power(samples)
    sounding = _is_sounding(power)
    if not sounding.any():
        return ["the recording is silent: the lips will stay shut"]
    warnings = []
    frames_per_second = SAMPLE_RATE / SAMPLES_PER_FRAME
    lead = int(sounding.argmax()) / frames_per_second
    if lead >= MIN_LEAD_SECONDS:
        warnings.append(f"the recording begins with {lead:.0f} s of silence, and so does the video; cut it off")
    loudness = float(10 * np.log10(power[sounding].mean()))
    if loudness < FAINT_DBFS:
        warnings.append(f"the recording is very faint ({loudness:.0f} dB); its noise may move the lips")
    chunks = (samples[start : start + CHUNK_SAMPLES] for start in range(0, len(samples), CHUNK_SAMPLES))
    if sum(np.count_nonzero(np.abs(chunk) > CLIPPED_AMPLITUDE) for chunk in chunks) > MAX_CLIPPED_SHARE * len(samples):
        warnings.append("the recording is overdriven (clipped); lips may follow it less well")
    if sounding.sum() / frames_per_second >= MIN_SOUND_SECONDS and (other := other_sound(samples, power, sounding)):
        warnings.append(other)
    return warnings


def is_silent(samples: np.ndarray) -> bool:
    """Whether nothing is heard in a recording: samples float32 [N] at 16 kHz in -1..1, all of its frames silence."""
    return not _is_sounding(frame_power(samples)).any()


def _is_sounding(power: np.ndarray) -> np.ndarray:
    """Which frames are not silence: [T] of `frame_power` -> bool [T]."""
    return 10 * np.log10(power + 1e-12) > SILENCE_DBFS


def other_sound(samples: np.ndarray, power: np.ndarray, sounding: np.ndarray) -> str | None:
    """Return, in a sentence, what a recording sounds like if it is not speech; None for speech.

    samples float32 [N]; power [T], its `frame_power`; sounding bool [T], the frames that are not silence.
    """
    voiced, pitch_range = voiced_share_and_range(samples, sounding)
    if low_energy_share(power) < MIN_LOW_ENERGY_SHARE:
        if voiced > TONE_VOICED_SHARE and pitch_range < TONE_SEMITONES:
            return "this sounds like a steady tone rather than speech; lips follow speech alone"
        return "this sounds like music or steady noise rather than speech; lips follow speech alone"
    if voiced < MIN_VOICED_SHARE:
        return "no voice is heard in this recording, only noise or whispering; lips may follow it less well"
    return None


def frame_power(samples: np.ndarray) -> np.ndarray:
    """Compute the mean power of frames of 40 ms: [N] -> [N // 640], at least one frame."""
    if len(samples) < SAMPLES_PER_FRAME:
        samples = np.pad(samples, (0, SAMPLES_PER_FRAME - len(samples)))
    frames = samples[: len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)
    return np.einsum("nf,nf->n", frames, frames) / SAMPLES_PER_FRAME


def low_energy_share(power: np.ndarray) -> float:
    """Compute the share of frames with less than a quarter of the mean power of the second around them.

    Only frames in seconds with sound count.
    The low short-time energy ratio of Lu, Zhang and Jiang, "Content analysis for audio classification and
    segmentation", 2002, equation 2. The power of syllables rises and falls; that of music and noise is steady.
    """
    second = SAMPLE_RATE // SAMPLES_PER_FRAME
    if len(power) > second:
        padded = np.pad(power, (second // 2, second - 1 - second // 2), "reflect")
        sums = np.concatenate([[0.0], np.cumsum(padded, dtype=np.float64)])
        mean = (sums[second:] - sums[:-second]) / second
    else:
        mean = np.full(len(power), power.mean())
    audible = mean > 10 ** (SILENCE_DBFS / 10)
    return float((power < 0.25 * mean)[audible].mean()) if audible.any() else 1.0


def voiced_share_and_range(samples: np.ndarray, sounding: np.ndarray) -> tuple[float, float]:
    """Compute the share of the sounding frames (bool [T]) that are voiced, and the range of their pitch in semitones.

    The range is that of the middle 80% of the voiced frames; 0 where none is. `librosa.yin` would say the same, but
    importing librosa takes a second, and 15 the first time.
    """
    chunks = torch.from_numpy(samples[: len(sounding) * SAMPLES_PER_FRAME]).split(CHUNK_SAMPLES)
    voicing, octaves = (torch.cat(values).numpy() for values in zip(*map(voicing_and_pitch, chunks), strict=True))
    voiced = sounding & (voicing > 0.5)
    if not voiced.any():
        return 0.0, 0.0
    low, high = np.percentile(octaves[voiced], (10, 90))
    return float(voiced.sum() / sounding.sum()), float(12 * (high - low))
