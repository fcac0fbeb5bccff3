"""Waveform -> 39 mel-frequency cepstral features at 100 Hz, exactly those that the original's models were trained on.

Letters: N samples at 16 kHz, K feature frames; frame k is samples 160 k to 160 k + 399.

The coefficients of Davis and Mermelstein 1980, liftered, with log energy in place of the first, computed in float64.
Three things differ from librosa and torchaudio and must stay, because the weights were trained with them: the corners
of the triangles are rounded down to whole bins, frames have no window function, and the last 13 features are slopes of
the cepstra over five frames, not second differences.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import audio

HOP, WINDOW = audio.HOP, audio.WINDOW  # 10 ms and 25 ms
N_FFT = 512  # points of the Fourier transform
EMPHASIS = 0.97  # share of the previous sample that is subtracted from each sample
BANDS = 26  # triangular filters from 0 to 8000 Hz
CEPSTRA = 13  # coefficients
LIFTER = 22  # of the sinusoidal lifter, in coefficients
POWER_OF_SILENCE = torch.finfo(torch.float64).eps  # replaces a power of exactly 0
SIZE = 3 * CEPSTRA  # features per frame
CHUNK_FRAMES = 3000  # 30 s, computed at once, which bounds the memory of long recordings


def frame_count(samples: int) -> int:
    """K for a recording of `samples` samples: 1 + ceil((samples - 400) / 160), and at least 1."""
    return 1 + max(0, -(-(samples - WINDOW) // HOP))


def features(waveform: Tensor) -> Tensor:
    """Samples [N] in -1..1 -> float32 [K,39]: log energy and 12 cepstra, and their slopes over 3 and over 5 frames.

    ValueError without a sample. Long recordings are computed in chunks.
    """
    if waveform.ndim != 1 or not len(waveform):
        raise ValueError(f"waveform is {tuple(waveform.shape)}; at least one sample [N] is needed")
    sound = waveform.cpu()  # not every device has float64
    count = frame_count(len(sound))
    static = torch.cat(
        [_cepstra(sound, first, min(first + CHUNK_FRAMES, count)) for first in range(0, count, CHUNK_FRAMES)]
    )
    return torch.cat([static, _slope(static, 1), _slope(static, 2)], -1).float().to(waveform.device)


def _cepstra(sound: Tensor, first: int, last: int) -> Tensor:
    """Log energy and liftered cepstra of frames `first` to `last` - 1: [last - first,13]."""
    begin, end = first * HOP, (last - 1) * HOP + WINDOW
    samples = sound[max(begin - 1, 0) : end].double()
    before = samples[:1] if begin else samples.new_zeros(1)  # the first sample of all is not changed
    current = samples[1:] if begin else samples
    emphasised = current - EMPHASIS * torch.cat([before, current[:-1]])
    padded = torch.nn.functional.pad(emphasised, (0, end - begin - len(current)))
    spectrum = torch.fft.rfft(padded.unfold(0, WINDOW, HOP), N_FFT)
    power = (spectrum.real.square() + spectrum.imag.square()) / N_FFT  # [K,257]
    bands = _log(power @ _mel_filters())
    cepstra = (bands @ _dct()) * (1 + LIFTER / 2 * (math.pi / LIFTER * _arange(CEPSTRA)).sin())
    return torch.cat([_log(power.sum(-1, keepdim=True)), cepstra[:, 1:]], -1)


def _log(power: Tensor) -> Tensor:
    """The logarithm, with POWER_OF_SILENCE in place of 0."""
    return torch.where(power == 0, POWER_OF_SILENCE, power).log()


def _arange(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64)


def _mel_filters() -> Tensor:
    """Triangles [257,26], evenly spaced on the mel scale 2595 log10(1 + f / 700), corners rounded down to bins."""
    top = 2595 * math.log10(1 + audio.SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (torch.linspace(0, top, BANDS + 2, dtype=torch.float64) / 2595) - 1)
    edges = ((N_FFT + 1) * hertz / audio.SAMPLE_RATE).floor()
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bins = _arange(N_FFT // 2 + 1)[:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return torch.where(bins < middle, rising, falling).clamp(min=0)


def _dct() -> Tensor:
    """The first 13 columns of the orthonormal DCT-II over 26 bands: [26,13]."""
    waves = (math.pi / BANDS * (_arange(BANDS)[:, None] + 0.5) * _arange(CEPSTRA)).cos() * (2 / BANDS) ** 0.5
    waves[:, 0] /= 2**0.5
    return waves


def _slope(static: Tensor, reach: int) -> Tensor:
    """Least-squares slope over `reach` frames on both sides, edges repeated: [K,13] -> [K,13], change per frame."""
    padded = torch.cat([static[:1].expand(reach, -1), static, static[-1:].expand(reach, -1)])
    steps = torch.arange(-reach, reach + 1, dtype=static.dtype)
    return padded.unfold(0, 2 * reach + 1, 1) @ steps / steps.square().sum()
