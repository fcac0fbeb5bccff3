"""Waveforms before features: sizes of windows in samples, resampling, mel filters, and the level of speech.

torchaudio resamples and makes mel filters, on any device. It is imported where it is needed, because importing costs
time; where it is not installed or does not load beside the installed torch, soxr and librosa take its place.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from .rates import FPS, SAMPLE_RATE

SAMPLES_PER_FRAME = SAMPLE_RATE // FPS  # 640
assert SAMPLES_PER_FRAME * FPS == SAMPLE_RATE
MEL_PER_FRAME = 4  # mel frames per video frame
HOP = SAMPLES_PER_FRAME // MEL_PER_FRAME  # 160 samples = 10 ms
assert HOP * MEL_PER_FRAME == SAMPLES_PER_FRAME
WINDOW = SAMPLE_RATE // 40  # 400 samples = 25 ms
F_MIN, F_MAX = 60.0, SAMPLE_RATE / 2  # Hz, edges of the mel scale
PITCH_WINDOW = 1024  # samples = 64 ms, four periods of the lowest voice
PITCH_MIN, PITCH_MAX = 60.0, 400.0  # Hz

BLOCK = SAMPLE_RATE * 4 // 10  # samples = 400 ms, the blocks in which level is measured
BLOCK_STEP = BLOCK // 4  # samples from the start of one block to the start of the next
CHUNK_SAMPLES = 256 * BLOCK_STEP  # 26 s, measured at once, which bounds the memory of long recordings
ABSOLUTE_GATE = -60.0  # dBFS: quieter blocks are silence
RELATIVE_GATE = -10.0  # dB, relative to the mean of the blocks above ABSOLUTE_GATE: quieter blocks are pauses
SPEECH_LEVEL = -26.0  # dBFS, to which every recording is brought before its features are computed
MAX_GAIN = 24.0  # dB: a recording that needs more is mostly noise

# Parameters with which torchaudio's resampler has the pass band of soxr's high quality, as torchaudio documents them.
SINC_WIDTH = 64  # zero crossings on either side
SINC_ROLLOFF = 0.9475937167399596  # cut-off, as a share of the lower of the two Nyquist frequencies
SINC_KAISER_BETA = 14.769656459379492


def frame_count(samples: int) -> int:
    """Number of video frames that cover `samples` at 16 kHz: ceil(samples / 640)."""
    return -(-samples // SAMPLES_PER_FRAME)


def to_mono(waveform: Tensor, rate: int) -> Tensor:
    """Waveform [N] or [channels,N] at `rate` Hz -> float32 [N'] at 16 kHz, the mean of the channels."""
    waveform = waveform.float()
    return resample(waveform.mean(0) if waveform.ndim == 2 else waveform, rate, SAMPLE_RATE)


def resample(waveform: Tensor, rate_in: int, rate_out: int) -> Tensor:
    """Float [...,N] at `rate_in` Hz -> float32 [...,ceil(N rate_out / rate_in)] at `rate_out` Hz, on the same device.

    torchaudio's windowed sinc, or soxr (on the CPU) where torchaudio cannot be loaded. The two agree within 2e-4 of
    full scale up to 90% of the lower Nyquist frequency, save for the first and last 10 ms. ValueError for a rate that
    is not positive.
    """
    if min(rate_in, rate_out) <= 0:
        raise ValueError(f"sample rates are {rate_in} and {rate_out} Hz; both must be positive")
    waveform = waveform.float()
    if rate_in == rate_out:
        return waveform
    if functional := torchaudio_functional():
        return functional.resample(
            waveform,
            rate_in,
            rate_out,
            lowpass_filter_width=SINC_WIDTH,
            rolloff=SINC_ROLLOFF,
            resampling_method="sinc_interp_kaiser",
            beta=SINC_KAISER_BETA,
        )
    import soxr

    length = -(-waveform.shape[-1] * rate_out // rate_in)
    channels = waveform.detach().cpu().reshape(-1, waveform.shape[-1]).T.numpy()  # soxr wants [N,channels]
    resampled = torch.from_numpy(soxr.resample(channels, rate_in, rate_out, quality="HQ").T[:, :length])
    resampled = torch.nn.functional.pad(resampled, (0, length - resampled.shape[-1]))
    return resampled.reshape(*waveform.shape[:-1], length).to(waveform.device)


def mel_filters(n_fft: int, n_mels: int, f_min: float = F_MIN, f_max: float = F_MAX, rate: int = SAMPLE_RATE) -> Tensor:
    """Triangular filters of height 1, evenly spaced on the HTK mel scale between f_min and f_max Hz.

    float32 [n_fft/2+1,n_mels]: power spectrum @ filters is the mel spectrum. From torchaudio, or from librosa where
    torchaudio cannot be loaded; the two agree within 1e-5. librosa compiles itself when it is imported for the first
    time after installation, which takes some 15 s; later imports take 1 s.
    """
    if functional := torchaudio_functional():
        return functional.melscale_fbanks(n_fft // 2 + 1, f_min, f_max, n_mels, rate, mel_scale="htk")
    from librosa.filters import mel

    filters = mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max, htk=True, norm=None, dtype=np.float32)
    return torch.from_numpy(filters).T.contiguous()


def torchaudio_functional() -> ModuleType | None:
    """`torchaudio.functional`; None where torchaudio is not installed or does not load beside the installed torch."""
    try:
        import torchaudio.functional
    except (ImportError, OSError, RuntimeError):  # absent; a library that does not link; operators of another torch
        return None
    return torchaudio.functional


def speech_level(waveform: Tensor) -> float | None:
    """Level of the speech in [N] samples at 16 kHz, in dBFS; None if no block is louder than `ABSOLUTE_GATE`.

    The gating of ITU-R BS.1770-4 (400 ms blocks, an absolute and a relative gate), without its frequency weighting.
    """
    if waveform.numel() < BLOCK:
        waveform = torch.nn.functional.pad(waveform, (0, BLOCK - waveform.numel()))
    whole = waveform[: waveform.numel() // BLOCK_STEP * BLOCK_STEP]
    chunks = whole.split(CHUNK_SAMPLES)  # squares of one chunk at a time, not of an hour at once
    return gated_level(torch.cat([x.view(-1, BLOCK_STEP).square().mean(-1, dtype=torch.float64) for x in chunks]))


def gated_level(step_power: Tensor) -> float | None:
    """`speech_level` from the mean power [K] of consecutive steps of BLOCK_STEP samples; K >= BLOCK / BLOCK_STEP."""
    power = step_power.unfold(-1, BLOCK // BLOCK_STEP, 1).mean(-1)
    power = power[power > 10 ** (ABSOLUTE_GATE / 10)]
    if not len(power):
        return None
    power = power[power >= power.mean() * 10 ** (RELATIVE_GATE / 10)]
    return 10 * float(power.mean().log10())


def normalise_level(waveform: Tensor) -> Tensor:
    """Bring the speech in [N] samples to `SPEECH_LEVEL`; silence is not amplified. For features only, not for the
    sound of the video."""
    gain = level_gain(waveform)
    return waveform if gain == 1 else waveform * gain


def level_gain(waveform: Tensor) -> float:
    """The factor that brings [N] samples to `SPEECH_LEVEL`, at most `MAX_GAIN`; 1 for silence."""
    level = speech_level(waveform)
    return 1.0 if level is None else 10 ** (min(SPEECH_LEVEL - level, MAX_GAIN) / 20)
