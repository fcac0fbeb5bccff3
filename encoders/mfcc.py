"""Waveform -> 39 mel-frequency cepstral features at 100 Hz, exactly those that the original's models were trained on.

Letters: N samples at 16 kHz, K feature frames; frame k is samples 160 k to 160 k + 399.

Davis and Mermelstein 1980 with the constants below; energy instead of the first cepstrum; liftered. What is unusual and
must stay, because weights depend on it: no window, and the third 13 are slopes of the cepstra over five frames, not
slopes of slopes. All in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import audio

HOP, WINDOW = audio.HOP, audio.WINDOW  # 10 ms and 25 ms
POINTS = 512  # of the Fourier transform
EMPHASIS = 0.97
BANDS = 26  # triangles from 0 to 8000 Hz
CEPSTRA = 13
LIFTER = 22
FLOOR = torch.finfo(torch.float64).eps  # what exact silence counts as
SIZE = 3 * CEPSTRA
PIECE = 3000  # frames (30 s) measured at once


def frame_count(samples: int) -> int:
    """K, feature frames of `samples` of sound: 1, and one more for every 160 samples begun after the first 400."""
    return 1 + max(0, -(-(samples - WINDOW) // HOP))


def features(waveform: Tensor) -> Tensor:
    """Samples [N] in -1..1 -> float32 [K,39]: log energy and 12 cepstra, and their slopes over 3 and over 5 frames.

    Long recordings are measured in pieces: memory is that of the samples and the features.
    """
    if waveform.ndim != 1 or not len(waveform):
        raise ValueError(f"waveform is {tuple(waveform.shape)}; at least one sample [N] is needed")
    sound = waveform.cpu()  # not every device knows float64
    count = frame_count(len(sound))
    static = torch.cat([_cepstra(sound, first, min(first + PIECE, count)) for first in range(0, count, PIECE)])
    return torch.cat([static, _slope(static, 1), _slope(static, 2)], -1).float().to(waveform.device)


def _cepstra(sound: Tensor, first: int, last: int) -> Tensor:
    """Log energy and liftered cepstra [last - first,13] of those frames."""
    begin, end = first * HOP, (last - 1) * HOP + WINDOW
    near = sound[max(begin - 1, 0) : end].double()
    before = near[:1] if begin else near.new_zeros(1)  # the very first sample is kept as it is
    now = near[1:] if begin else near
    emphasised = now - EMPHASIS * torch.cat([before, now[:-1]])
    padded = torch.nn.functional.pad(emphasised, (0, end - begin - len(now)))
    spectrum = torch.fft.rfft(padded.unfold(0, WINDOW, HOP), POINTS)
    power = (spectrum.real.square() + spectrum.imag.square()) / POINTS  # [K,257]
    bands = _log(power @ _filters())
    cepstra = (bands @ _cosines()) * (1 + LIFTER / 2 * (math.pi / LIFTER * _count(CEPSTRA)).sin())
    return torch.cat([_log(power.sum(-1, keepdim=True)), cepstra[:, 1:]], -1)


def _log(power: Tensor) -> Tensor:
    return torch.where(power == 0, FLOOR, power).log()


def _count(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64)


def _filters() -> Tensor:
    """Triangles [257,26], evenly spaced on the mel scale of 2595 log10(1 + f / 700)."""
    top = 2595 * math.log10(1 + audio.SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (torch.linspace(0, top, BANDS + 2, dtype=torch.float64) / 2595) - 1)
    edges = ((POINTS + 1) * hertz / audio.SAMPLE_RATE).floor()
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    place = _count(POINTS // 2 + 1)[:, None]
    rising, falling = (place - low) / (middle - low), (high - place) / (high - middle)
    return torch.where(place < middle, rising, falling).clamp(min=0)


def _cosines() -> Tensor:
    """The first 13 of the orthonormal DCT-II of 26 bands: [26,13]."""
    waves = (math.pi / BANDS * (_count(BANDS)[:, None] + 0.5) * _count(CEPSTRA)).cos() * (2 / BANDS) ** 0.5
    waves[:, 0] /= 2**0.5
    return waves


def _slope(static: Tensor, reach: int) -> Tensor:
    """Least-squares slope per frame over `reach` frames on both sides; the edges repeat: [K,13] -> [K,13]."""
    padded = torch.cat([static[:1].expand(reach, -1), static, static[-1:].expand(reach, -1)])
    steps = torch.arange(-reach, reach + 1, dtype=static.dtype)
    return padded.unfold(0, 2 * reach + 1, 1) @ steps / steps.square().sum()
