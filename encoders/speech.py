"""Waveform -> speech features per video frame: log-mel spectrum, loudness, voicing, pitch, and phones if wanted.

Letters: B recordings, N samples at 16 kHz, T = ceil(N / 640) video frames, K = 4 T mel frames, S features, P of them
from the phonetic encoder. Frame t covers the sound from t / 25 s to (t + 1) / 25 s. Features look ahead by at most half
a window (12 ms), and their normalisation uses the past only, so speech that is still arriving gets the same features as
a whole recording. Phones come a little late instead (see phonetic.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import audio
from .phonetic import MEL_PER_PHONE, PHONES_PER_FRAME, PhoneticEncoder, PhoneticState

POWER_FLOOR = 1e-7  # -70 dBFS: fainter sound counts as silence
ACTIVE_LOG_POWER = math.log(1e-5)  # -50 dBFS: louder mel frames are speech and move the running mean
PRIOR_FRAMES = 200.0  # weight of the prior mean, in mel frames (2 s)
PRIOR_BANDS = (
    (0.0, -5.2),
    (0.3, -11.0),
    (0.7, -11.5),
    (1.0, -14.2),
)  # (position among the bands, lowest 0 and highest 1; mean log power there) of speech at -26 dBFS
PRIOR_LOUDNESS = -6.0  # log of the mean power over all bands
LOG_POWER_SCALE = 2.0  # log power is divided by this after the mean is subtracted
CLIP = 3.5  # normalised features stay within +-CLIP
CHUNK_FRAMES = 750  # video frames (30 s) measured at once, which bounds the memory of long recordings
PITCH_REFERENCE = 150.0  # Hz at which the pitch feature is 0
OCTAVE_COST = 0.1  # subtracted from the autocorrelation per octave of lag, because twice the period fits as well
UNVOICED, VOICED = 0.4, 0.9  # normalised autocorrelation at which voicing is 0 and 1


@dataclass
class RunningStats:
    """Sums over the mel frames so far, each frame weighted by its activity (0 silence, 1 speech).

    weight: sum of the activity; bands: of each band's difference to the prior; level: of the loudness' difference;
    phonetic: what the phonetic encoder keeps of the speech so far.
    """

    weight: Tensor | float = 0.0  # [B,1,1]
    bands: Tensor | float = 0.0  # [B,1,n_mels]
    level: Tensor | float = 0.0  # [B,1]
    phonetic: PhoneticState = field(default_factory=PhoneticState)


class SpeechFeatures(nn.Module):
    """Features of speech at the video frame rate.

    n_mels: mel bands; per_frame: mel frames stacked per video frame; n_fft: points of the Fourier transform (the 25 ms
    window is padded with zeros, so that no filter of the lowest bands is empty); pitch: append voicing (0..1) and pitch
    (octaves above 150 Hz times voicing); phonetic: the encoder whose posteriors and activations are appended.
    ValueError where per_frame does not divide a frame's 640 samples, or does not fit the phonetic encoder.
    """

    bands: Tensor
    window: Tensor
    prior: Tensor

    def __init__(
        self,
        n_mels: int = 80,
        per_frame: int = audio.MEL_PER_FRAME,
        n_fft: int = 1024,
        pitch: bool = True,
        phonetic: PhoneticEncoder | None = None,
    ) -> None:
        super().__init__()
        if audio.SAMPLES_PER_FRAME % per_frame:
            raise ValueError(f"per_frame is {per_frame}; it must divide {audio.SAMPLES_PER_FRAME} samples")
        if phonetic is not None and per_frame != MEL_PER_PHONE * PHONES_PER_FRAME:
            raise ValueError(f"per_frame is {per_frame}; a phonetic encoder needs {MEL_PER_PHONE * PHONES_PER_FRAME}")
        self.phonetic = phonetic
        self.n_mels, self.per_frame, self.n_fft, self.with_pitch = n_mels, per_frame, n_fft, pitch
        self.hop = audio.SAMPLES_PER_FRAME // per_frame
        bands = audio.mel_filters(n_fft, n_mels)
        window = torch.hann_window(audio.WINDOW)
        # Constants: they follow .to(device) and are not part of the weights.
        self.register_buffer("bands", bands / bands.sum(0), persistent=False)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        self.register_buffer("prior", _prior_bands(n_mels), persistent=False)

    @property
    def size(self) -> int:
        """S: features per video frame, those of the phonetic encoder last."""
        return self.acoustic_size + (0 if self.phonetic is None else self.phonetic.size)

    @property
    def acoustic_size(self) -> int:
        """S - P: features that are measured, not learned."""
        return self.n_mels * self.per_frame + 1 + 2 * self.with_pitch

    def forward(self, waveform: Tensor, gain: float = 1.0) -> Tensor:
        """Samples [N] or [B,N] in -1..1, multiplied by gain -> features [T,S] or [B,T,S]; T = ceil(N / 640)."""
        if waveform.ndim == 1:
            return self(waveform[None], gain)[0]
        frames, stats = audio.frame_count(waveform.shape[-1]), RunningStats()
        features = waveform.new_empty(len(waveform), frames, self.size, dtype=torch.float32)
        for first in range(0, frames, CHUNK_FRAMES):
            features[:, first : first + CHUNK_FRAMES] = self.assemble(*self._measure(waveform, first, gain), stats)
        return features

    def _measure(self, waveform: Tensor, first: int, gain: float) -> tuple[Tensor, Tensor]:
        """log_mel and pitch of CHUNK_FRAMES video frames from `first` on, with one more frame of sound on each side."""
        last = min(first + CHUNK_FRAMES, audio.frame_count(waveform.shape[-1]))
        before = min(first, 1)
        samples = waveform[:, (first - before) * audio.SAMPLES_PER_FRAME : (last + 1) * audio.SAMPLES_PER_FRAME] * gain
        inside = slice(before * self.per_frame, (before + last - first) * self.per_frame)
        return self.log_mel(samples)[:, inside], self.pitch(samples)[:, before : before + last - first]

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Samples [B,N] -> log power per mel band [B,K,n_mels], at least log(POWER_FLOOR)."""
        frames = audio.frame_count(waveform.shape[-1]) * self.per_frame
        side = (self.n_fft - self.hop) // 2  # windows are centred on their hop
        right = frames * self.hop - waveform.shape[-1] + self.n_fft - self.hop - side
        padded = F.pad(waveform.float(), (side, right))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, audio.WINDOW, self.window, center=False, return_complex=True
        )
        power = (spectrum.real.square() + spectrum.imag.square()).transpose(-1, -2)  # [B,K,n_fft/2+1]
        return (power @ self.bands).clamp(min=POWER_FLOOR).log()

    def pitch(self, waveform: Tensor) -> Tensor:
        """`voicing_and_pitch` as the features use it: [B,N] -> [B,T,2], pitch multiplied by voicing."""
        voicing, octaves = voicing_and_pitch(waveform)
        return torch.stack([voicing, octaves * voicing], -1)

    def assemble(self, log_mel: Tensor, pitch: Tensor, stats: RunningStats | None = None) -> Tensor:
        """log_mel [B,K,n_mels] and pitch [B,T,2] -> features [B,T,S]; stats: as for `normalise`."""
        stats = stats or RunningStats()
        bands, loudness = self.normalise(log_mel, stats)
        stacked = bands.unflatten(-2, (-1, self.per_frame)).flatten(-2)
        loudness = loudness.unflatten(-1, (-1, self.per_frame)).mean(-1, keepdim=True)
        phones = [] if self.phonetic is None else [self.phonetic.describe(bands, stats.phonetic)]
        return torch.cat([stacked, loudness] + [pitch] * self.with_pitch + phones, -1)

    def normalise(self, log_mel: Tensor, stats: RunningStats | None = None) -> tuple[Tensor, Tensor]:
        """Subtract the running mean of speech, band by band: [B,K,n_mels] -> bands [B,K,n_mels] and loudness [B,K].

        Both within +-CLIP. stats: of the recording before these frames, updated in place; None: there is none.
        Only active frames count, and the mean starts from a prior, so silence neither moves it nor is amplified.
        """
        stats = stats or RunningStats()
        level = log_mel.exp().mean(-1).log()  # [B,K] log of the mean power
        active = torch.sigmoid((level - ACTIVE_LOG_POWER) * 2)[..., None]
        weight = active.cumsum(-2) + stats.weight
        bands = (active * (log_mel - self.prior)).cumsum(-2) + stats.bands
        levels = (active[..., 0] * (level - PRIOR_LOUDNESS)).cumsum(-1) + stats.level
        stats.weight, stats.bands, stats.level = weight[..., -1:, :], bands[..., -1:, :], levels[..., -1:]
        count = weight + PRIOR_FRAMES
        mean, level_mean = bands / count + self.prior, levels / count[..., 0] + PRIOR_LOUDNESS
        bands = ((log_mel - mean) / LOG_POWER_SCALE).clamp(-CLIP, CLIP)
        return bands, ((level - level_mean) / LOG_POWER_SCALE).clamp(-CLIP, CLIP)


def voicing_and_pitch(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Samples [...,N] -> voicing [...,T] in 0..1 and pitch [...,T] in octaves above 150 Hz, between 60 and 400 Hz.

    The peak of the normalised autocorrelation of 64 ms (Boersma 1993, without the window correction). Pitch means
    nothing where voicing is 0. 10 s of sound take 2 ms.
    """
    frames = audio.frame_count(waveform.shape[-1])
    side = (audio.PITCH_WINDOW - audio.SAMPLES_PER_FRAME) // 2
    right = frames * audio.SAMPLES_PER_FRAME - waveform.shape[-1] + side
    windows = F.pad(waveform.float(), (side, right)).unfold(-1, audio.PITCH_WINDOW, audio.SAMPLES_PER_FRAME)
    windows = windows - windows.mean(-1, keepdim=True)
    shortest, longest = int(audio.SAMPLE_RATE / audio.PITCH_MAX), int(audio.SAMPLE_RATE / audio.PITCH_MIN)
    spectrum = torch.fft.rfft(windows, 2 * audio.PITCH_WINDOW)
    product = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square())[..., shortest : longest + 1]
    energy = F.pad(windows.square().cumsum(-1), (1, 0))
    lags = torch.arange(shortest, longest + 1, device=waveform.device)
    early = energy[..., audio.PITCH_WINDOW - lags]  # energy of the window without its last `lag` samples
    late = energy[..., -1:] - energy[..., lags]
    floor = POWER_FLOOR * audio.PITCH_WINDOW  # keeps background noise from being voiced
    correlation = product / ((early * late).clamp(min=0).sqrt() + floor)
    best = (correlation - OCTAVE_COST * lags.log2()).argmax(-1)
    peak = correlation.gather(-1, best[..., None])[..., 0]
    voicing = ((peak - UNVOICED) / (VOICED - UNVOICED)).clamp(0, 1)
    return voicing, (audio.SAMPLE_RATE / PITCH_REFERENCE / lags[best]).log2()


def _prior_bands(n_mels: int) -> Tensor:
    """PRIOR_BANDS at every band, interpolated linearly: [n_mels]."""
    places, levels = zip(*PRIOR_BANDS, strict=True)
    at = torch.linspace(0, 1, n_mels)
    prior = torch.full((n_mels,), levels[0])
    for left, right, low, high in zip(places[:-1], places[1:], levels[:-1], levels[1:], strict=True):
        share = ((at - left) / (right - left)).clamp(0, 1)
        prior = prior + share * (high - low)
    return prior
