"""Syllables after silence, and when they come back as voice and as opened lips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

PERIOD_SECONDS = 1.0  # between the beginnings of two syllables
SYLLABLE_SECONDS = 0.3
FIRST_SECONDS = 0.5
LONGEST_DELAY = 0.9  # seconds; what comes later belongs to the next syllable
ONSET_LEVEL = 0.02  # rms of a voice that has begun
OPENING = 0.5  # of the largest change of the mouth since the syllable left, at which lips count as opened


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
    came back; seen: (time, brightness [N] of the mouth's place) of the frames that came back."""

    said: list[float] = field(default_factory=list)
    heard: list[tuple[float, float]] = field(default_factory=list)
    seen: list[tuple[float, np.ndarray]] = field(default_factory=list)
    figures: dict = field(default_factory=dict)

    def voice_delays(self) -> dict[int, float]:
        """By syllable: seconds until the voice came back."""
        levels = ((number, self._window(self.heard, begin)) for number, begin in enumerate(self.said))
        return _first({number: [(t, level, ONSET_LEVEL) for t, level in window] for number, window in levels})

    def lip_delays(self) -> dict[int, float]:
        """By syllable: seconds until the lips opened, against the last frame before the syllable left."""
        tracks = {}
        for number, begin in enumerate(self.said):
            before = [mouth for at, mouth in self.seen if at <= begin][-1:]
            window = self._window(self.seen, begin)
            rest = (before or [mouth for _, mouth in window[:1]])[0] if before or window else None
            changes = [(t, float(np.abs(mouth - rest).mean())) for t, mouth in window]
            limit = OPENING * max((change for _, change in changes), default=0.0)
            tracks[number] = [(t, change, limit) for t, change in changes if limit > 0]
        return _first(tracks)

    def _window(self, track, begin: float) -> list:
        return [(at - begin, value) for at, value in track if 0 <= at - begin < LONGEST_DELAY]

    def frame_rate(self) -> float:
        """Frames a second that came back."""
        if len(self.seen) < 2:
            return 0.0
        return (len(self.seen) - 1) / (self.seen[-1][0] - self.seen[0][0])


def mouth_place(frame: np.ndarray) -> np.ndarray:
    """Brightness, float32 [N], of every fourth pixel of a picture's lower middle, uint8 [H,W,3]: where a portrait's
    mouth is."""
    height, width = frame.shape[:2]
    place = frame[height // 2 : height * 7 // 8 : 4, width // 4 : width * 3 // 4 : 4]
    return place.astype(np.float32).mean(-1).ravel()


def onsets(levels: Sequence[Sequence[float]]) -> list[float]:
    """Times at which a sound, (time, rms) each, begins after half a second of silence."""
    onsets, silent_since = [], None
    for at, level in levels:
        if level < ONSET_LEVEL:
            silent_since = at if silent_since is None else silent_since
            continue
        if silent_since is not None and at - silent_since > 0.5:
            onsets.append(at)
        silent_since = None
    return onsets


def _first(tracks: dict[int, list[tuple[float, float, float]]]) -> dict[int, float]:
    """By syllable the first time at which a level reaches its limit; (time, level, limit) each."""
    delays = {}
    for number, track in tracks.items():
        reached = [t for t, level, limit in track if level >= limit]
        if reached and reached[0] > 0.02:  # earlier: the last syllable's
            delays[number] = reached[0]
    return delays
