"""Waveform -> speech features per video frame: log-mel spectrum, loudness, voicing and pitch. No trained weights.

Letters: B recordings, N samples at 16 kHz, T = ceil(N / 640) video frames, K = 4 T mel frames, S features.
Frame t is what sounds during [t, t + 1) / 25 s. Everything is causal but for half a window (12 ms; 12 ms for pitch),
the level included, so that the same features can be taken from speech that is still arriving.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import audio

FLOOR = 1e-7  # power, -70 dB of full scale: what is fainter counts as silence
ACTIVE = math.log(1e-5)  # log power, -50 dB: mel frames above it are speech and move the running mean
PRIOR_FRAMES = 200.0  # mel frames (2 s) that the prior mean weighs
PRIOR = (
    (0.0, -5.2),
    (0.3, -11.0),
    (0.7, -11.5),
    (1.0, -14.2),
)  # log power of speech at -26 dB along the bands, lowest to highest
PRIOR_LOUDNESS = -6.0  # log of its mean power
SPREAD = 2.0  # log power by which features are divided
CLIP = 3.5  # features stay within +-CLIP
PIECE = 750  # video frames (30 s) measured at once: the memory of long recordings stays that of their features
PITCH_REFERENCE = 150.0  # Hz, pitch feature 0


@dataclass
class Heard:
    """Sums over the mel frames so far, for speech that arrives in pieces: active frames, their bands, their level."""

    weight: Tensor | float = 0.0  # [B,1,1]
    bands: Tensor | float = 0.0  # [B,1,n_mels]
    level: Tensor | float = 0.0  # [B,1]


class SpeechFeatures(nn.Module):
    """Features of speech at the video frame rate.

    n_mels: mel bands; per_frame: mel frames stacked per video frame; n_fft: points of the Fourier transform (the 25 ms
    window is padded with zeros, so that the lowest bands are not empty); pitch: append voicing (0..1) and pitch
    (octaves above 150 Hz times voicing).
    """

    def __init__(
        self, n_mels: int = 80, per_frame: int = audio.MEL_PER_FRAME, n_fft: int = 1024, pitch: bool = True
    ) -> None:
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        if audio.SAMPLES_PER_FRAME % per_frame:
            raise ValueError(f"per_frame is {per_frame}; it must divide {audio.SAMPLES_PER_FRAME} samples")
        self.n_mels, self.per_frame, self.n_fft, self.with_pitch = n_mels, per_frame, n_fft, pitch
        self.hop = audio.SAMPLES_PER_FRAME // per_frame
        bands = melscale_fbanks(n_fft // 2 + 1, audio.F_MIN, audio.F_MAX, n_mels, audio.SAMPLE_RATE, mel_scale="htk")
        window = torch.hann_window(audio.WINDOW)
        # Constants, not weights: they follow .to(device) but are not saved.
        self.register_buffer("bands", bands / bands.sum(0), persistent=False)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        self.register_buffer("prior", _prior(n_mels), persistent=False)

    @property
    def size(self) -> int:
        """S: features per video frame."""
        return self.n_mels * self.per_frame + 1 + 2 * self.with_pitch

    def forward(self, waveform: Tensor, gain: float = 1.0) -> Tensor:
        """Samples [N] or [B,N], times gain in -1..1 -> features [T,S] or [B,T,S]; T = ceil(N / 640)."""
        if waveform.ndim == 1:
            return self(waveform[None], gain)[0]
        frames, heard = audio.frame_count(waveform.shape[-1]), Heard()
        made = waveform.new_empty(len(waveform), frames, self.size, dtype=torch.float32)
        for first in range(0, frames, PIECE):
            made[:, first : first + PIECE] = self.assemble(*self._measure(waveform, first, gain), heard)
        return made

    def _measure(self, waveform: Tensor, first: int, gain: float) -> tuple[Tensor, Tensor]:
        """log_mel and pitch of PIECE video frames from `first` on, from those frames and one neighbour on each side."""
        last = min(first + PIECE, audio.frame_count(waveform.shape[-1]))
        before = min(first, 1)
        near = waveform[:, (first - before) * audio.SAMPLES_PER_FRAME : (last + 1) * audio.SAMPLES_PER_FRAME] * gain
        inside = slice(before * self.per_frame, (before + last - first) * self.per_frame)
        return self.log_mel(near)[:, inside], self.pitch(near)[:, before : before + last - first]

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Samples [B,N] -> log power per mel band [B,K,n_mels], not below log(FLOOR)."""
        frames = audio.frame_count(waveform.shape[-1]) * self.per_frame
        side = (self.n_fft - self.hop) // 2  # the window's middle is the middle of its hop
        right = frames * self.hop - waveform.shape[-1] + self.n_fft - self.hop - side
        padded = F.pad(waveform.float(), (side, right))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, audio.WINDOW, self.window, center=False, return_complex=True
        )
        power = (spectrum.real.square() + spectrum.imag.square()).transpose(-1, -2)  # [B,K,n_fft/2+1]
        return (power @ self.bands).clamp(min=FLOOR).log()

    def pitch(self, waveform: Tensor) -> Tensor:
        """Samples [B,N] -> [B,T,2]: voicing 0..1 and pitch in octaves above 150 Hz, weighted by voicing.

        The peak of the normalised autocorrelation of 64 ms (Boersma 1993 without the window correction): 2 ms for 10 s.
        """
        frames = audio.frame_count(waveform.shape[-1])
        side = (audio.PITCH_WINDOW - audio.SAMPLES_PER_FRAME) // 2
        right = frames * audio.SAMPLES_PER_FRAME - waveform.shape[-1] + side
        pieces = F.pad(waveform.float(), (side, right)).unfold(-1, audio.PITCH_WINDOW, audio.SAMPLES_PER_FRAME)
        pieces = pieces - pieces.mean(-1, keepdim=True)
        shortest, longest = int(audio.SAMPLE_RATE / audio.PITCH_MAX), int(audio.SAMPLE_RATE / audio.PITCH_MIN)
        spectrum = torch.fft.rfft(pieces, 2 * audio.PITCH_WINDOW)
        product = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square())[..., shortest : longest + 1]
        energy = F.pad(pieces.square().cumsum(-1), (1, 0))
        lags = torch.arange(shortest, longest + 1, device=waveform.device)
        early = energy[..., audio.PITCH_WINDOW - lags]  # energy of the part without its last `lag` samples
        late = energy[..., -1:] - energy[..., lags]
        quiet = FLOOR * audio.PITCH_WINDOW  # keeps the noise floor from looking like a voice
        likeness = product / ((early * late).clamp(min=0).sqrt() + quiet)
        # Twice the period fits as well as the period: prefer the shorter.
        best = (likeness - 0.1 * lags.log2()).argmax(-1)
        voicing = ((likeness.gather(-1, best[..., None])[..., 0] - 0.4) / 0.5).clamp(0, 1)
        octaves = (audio.SAMPLE_RATE / PITCH_REFERENCE / lags[best]).log2()
        return torch.stack([voicing, octaves * voicing], -1)

    def assemble(self, log_mel: Tensor, pitch: Tensor, heard: Heard | None = None) -> Tensor:
        """log_mel [B,K,n_mels] and pitch [B,T,2] -> features [B,T,S], normalised by what was heard so far."""
        bands, loudness = self.normalise(log_mel, heard)
        stacked = bands.unflatten(-2, (-1, self.per_frame)).flatten(-2)
        loudness = loudness.unflatten(-1, (-1, self.per_frame)).mean(-1, keepdim=True)
        return torch.cat([stacked, loudness] + [pitch] * self.with_pitch, -1)

    def normalise(self, log_mel: Tensor, heard: Heard | None = None) -> tuple[Tensor, Tensor]:
        """Subtract the running mean of speech, band by band: [B,K,n_mels] -> bands [B,K,n_mels] and loudness [B,K].

        Both within +-CLIP. heard: what came before this piece; brought up to date.
        The mean counts active frames only and starts from a prior, so silence neither moves it nor is amplified.
        """
        heard = heard or Heard()
        level = log_mel.exp().mean(-1).log()  # [B,K] log of the mean power
        active = torch.sigmoid((level - ACTIVE) * 2)[..., None]
        weight = active.cumsum(-2) + heard.weight
        bands = (active * (log_mel - self.prior)).cumsum(-2) + heard.bands
        levels = (active[..., 0] * (level - PRIOR_LOUDNESS)).cumsum(-1) + heard.level
        heard.weight, heard.bands, heard.level = weight[..., -1:, :], bands[..., -1:, :], levels[..., -1:]
        count = weight + PRIOR_FRAMES
        mean, level_mean = bands / count + self.prior, levels / count[..., 0] + PRIOR_LOUDNESS
        bands = ((log_mel - mean) / SPREAD).clamp(-CLIP, CLIP)
        return bands, ((level - level_mean) / SPREAD).clamp(-CLIP, CLIP)


def _prior(n_mels: int) -> Tensor:
    places, levels = zip(*PRIOR, strict=True)
    at = torch.linspace(0, 1, n_mels)
    prior = torch.full((n_mels,), levels[0])
    for left, right, low, high in zip(places[:-1], places[1:], levels[:-1], levels[1:], strict=True):
        share = ((at - left) / (right - left)).clamp(0, 1)
        prior = prior + share * (high - low)
    return prior
