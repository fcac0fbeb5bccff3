"""Syllables after silence, and when they come back as voice and as opened lips."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

PERIOD_SECONDS = 1.0  # between the beginnings of two syllables
SYLLABLE_SECONDS = 0.3
FIRST_SECONDS = 0.5
LONGEST_DELAY = 0.9  # seconds; what comes later belongs to the next syllable
ONSET_LEVEL = 0.02  # rms of a voice that has begun
OPENING = 0.3  # of the syllable's largest mouth movement, at which lips count as opened


def syllables(seconds: float, rate: int) -> np.ndarray:
    """Float32 [N]: an open vowel (harmonics of 140 Hz with two formants) of 0.3 s every second, silence between."""
    t = np.arange(int(seconds * rate)) / rate
    place = (t - FIRST_SECONDS) % PERIOD_SECONDS
    is_voiced = (t >= FIRST_SECONDS) & (place < SYLLABLE_SECONDS)
    formants = [(700, 130), (1200, 150), (2600, 250)]
    tone = np.zeros_like(t)
    for harmonic in range(1, 25):
        frequency = 140 * harmonic
        gain = sum(np.exp(-(((frequency - centre) / width) ** 2)) for centre, width in formants) + 0.02
        tone += gain * np.sin(2 * np.pi * frequency * t)
    edge = np.clip(np.minimum(place, SYLLABLE_SECONDS - place) / 0.01, 0, 1)
    return (0.25 * tone / np.abs(tone).max() * edge * is_voiced).astype(np.float32)


@dataclass
class Answers:
    """Times in seconds of one clock. said: beginnings of syllables as they left; heard: (time, rms) of the voice that
    came back; seen: (time, mouth movement against rest) of the frames that came back."""

    said: list[float] = field(default_factory=list)
    heard: list[tuple[float, float]] = field(default_factory=list)
    seen: list[tuple[float, float]] = field(default_factory=list)
    figures: dict = field(default_factory=dict)

    def voice_delays(self) -> dict[int, float]:
        """By syllable: seconds until the voice came back."""
        return self._delays(self.heard, lambda levels: ONSET_LEVEL)

    def lip_delays(self) -> dict[int, float]:
        """By syllable: seconds until the lips opened."""
        return self._delays(self.seen, lambda levels: OPENING * max(levels))

    def _delays(self, track, threshold) -> dict[int, float]:
        delays = {}
        for number, begin in enumerate(self.said):
            window = [(at - begin, level) for at, level in track if 0 <= at - begin < LONGEST_DELAY]
            if not window or max(level for _, level in window) <= 0:
                continue
            limit = threshold([level for _, level in window])
            late = [at for at, level in window if level >= limit]
            if late and late[0] > 0.02:  # earlier: the last syllable's
                delays[number] = late[0]
        return delays

    def frame_rate(self) -> float:
        """Frames a second that came back."""
        if len(self.seen) < 2:
            return 0.0
        return (len(self.seen) - 1) / (self.seen[-1][0] - self.seen[0][0])


def mouth_movement(frame: np.ndarray, rest: np.ndarray) -> float:
    """Mean change of the lower half of a picture's middle, uint8 [H,W,3], against rest: where a portrait's mouth is."""
    height, width = frame.shape[:2]
    place = np.s_[height // 2 : height * 7 // 8, width // 4 : width * 3 // 4]
    return float(np.abs(frame[place].astype(np.int16) - rest[place]).mean())
