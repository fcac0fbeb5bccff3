"""Speech as other microphones, rooms and lines would give it.

Everything works on float32 [N] at 16 kHz and keeps time: no sample moves by more than a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, rfft
from scipy.signal import butter, fftconvolve, sosfiltfilt

from anitalker.config import SAMPLE_RATE

QUIETEST = 1e-4  # root mean square below which nothing is called noise or speech


@dataclass(frozen=True)
class SoundAugment:
    """Chances of each change, and the noises int16 [N] that may be mixed in (others' speech among them)."""

    noises: Sequence[np.ndarray] = ()
    equaliser: float = 0.5
    noise: float = 0.5
    room: float = 0.35
    band: float = 0.15
    line: float = 0.1

    def __call__(self, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One recording, changed at random: float32 [N] -> float32 [N]."""
        if rng.random() < self.room:
            sound = reverberate(sound, rng)
        if rng.random() < self.equaliser:
            sound = equalise(sound, rng)
        if rng.random() < self.noise:
            sound = add_noise(sound, self.noises, rng)
        if rng.random() < self.band:
            sound = limit_band(sound, rng)
        if rng.random() < self.line:
            sound = quantise(sound, rng)
        return (sound * 10 ** (rng.uniform(-7, 5) / 20)).astype(np.float32)


def reverberate(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A room: exponentially decaying noise (T60 of 0.1 to 0.7 s) behind the direct sound, 0 to 15 dB below it."""
    decay = rng.uniform(0.1, 0.7)
    times = np.arange(int(decay * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    tail = rng.standard_normal(len(times), np.float32) * 10 ** (-3 * times / decay)
    tail[: int(rng.uniform(0.001, 0.01) * SAMPLE_RATE)] = 0
    response = tail / np.sqrt(np.square(tail).sum()) * 10 ** (-rng.uniform(0, 15) / 20)
    response[0] = 1
    return fftconvolve(sound, response)[: len(sound)].astype(np.float32)


def equalise(sound: np.ndarray, rng: np.random.Generator, decibels: float = 8) -> np.ndarray:
    """A smooth curve over frequency, within +-decibels."""
    spectrum = rfft(sound)
    curve = np.interp(np.linspace(0, 25, len(spectrum)) ** 0.5, np.arange(6), rng.uniform(-decibels, decibels, 6))
    return irfft(spectrum * (10 ** (curve / 20)).astype(np.float32), len(sound)).astype(np.float32)


def add_noise(sound: np.ndarray, noises: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Coloured noise or one of the noises, 3 to 30 dB below the speech."""
    level = np.sqrt(np.square(sound).mean())
    if level < QUIETEST:
        return sound
    if len(noises) and rng.random() < 0.6:
        other = noises[rng.integers(len(noises))]
        first = int(rng.integers(0, max(1, len(other) - len(sound))))
        noise = other[first : first + len(sound)].astype(np.float32) / 32768
        noise = np.resize(noise, len(sound))
    else:
        spectrum = rfft(rng.standard_normal(len(sound), np.float32))
        slope = np.float32(rng.uniform(0, 1.2) / 2)  # white to a little over pink
        spectrum /= np.arange(len(spectrum), dtype=np.float32).clip(20) ** slope
        noise = irfft(spectrum, len(sound)).astype(np.float32)
    loud = np.sqrt(np.square(noise).mean())
    if loud < QUIETEST:
        return sound
    return sound + noise * (level / loud * 10 ** (-rng.uniform(3, 30) / 20))


def limit_band(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A telephone (300 to 3400 Hz), or a low-pass at 3 to 7 kHz; zero phase, so that nothing is late."""
    if rng.random() < 0.4:
        sections = butter(3, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos")
    else:
        sections = butter(4, rng.uniform(3000, 7000), fs=SAMPLE_RATE, output="sos")
    return sosfiltfilt(sections, sound).astype(np.float32)


def quantise(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A telephone line's mu-law (ITU-T G.711), of 8 bits or 6."""
    peak, levels = max(float(np.abs(sound).max()), QUIETEST), rng.choice((127, 31))
    steps = np.round(np.sign(sound) * np.log1p(255 * np.abs(sound) / peak) / np.log(256) * levels) / levels
    return (np.sign(steps) * np.expm1(np.abs(steps) * np.log(256)) / 255 * peak).astype(np.float32)
