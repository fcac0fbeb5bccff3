"""Warnings about recordings: synthetic syllables pass; silence, music, tones, noise, faint and clipped sound do not."""

import numpy as np
import pytest

from anitalker.media import audio_checks
from anitalker.media.audio_checks import (
    audio_warnings,
    frame_power,
    is_silent,
    low_energy_share,
    voiced_share_and_range,
)

RATE = 16_000


def syllables(seconds=8.0, lead=0.0, loud=0.3):
    """A voice of 120 Hz that opens and closes four times a second, with pauses."""
    at = np.arange(int(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * at) / k for k in range(1, 12))
    opened = np.clip(np.sin(2 * np.pi * 4 * at), 0, 1) ** 2 * (np.sin(2 * np.pi * 0.4 * at) > -0.7)
    sound = loud * voice * opened / np.abs(voice).max()
    return np.concatenate([np.zeros(int(lead * RATE)), sound]).astype(np.float32)


def chords(seconds=8.0):
    at = np.arange(int(seconds * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * f * at) for f in (220, 277, 331)) * (0.9 + 0.1 * np.cos(2 * np.pi * at))
    return (sound * 0.2).astype(np.float32)


def tone(hertz=440.0, seconds=8.0):
    return (0.2 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def noise_bursts(seconds=8.0):
    """The rhythm of syllables, without a voice."""
    rhythm = np.sin(2 * np.pi * 3 * np.arange(int(seconds * RATE)) / RATE) > 0
    return (np.random.default_rng(0).normal(0, 0.1, len(rhythm)) * rhythm).astype(np.float32)


def test_speech_has_no_concern():
    assert audio_warnings(syllables()) == []
    assert audio_warnings(syllables(seconds=0.5)) == []
    assert audio_warnings(syllables(seconds=0.01)[:7]) != []  # next to nothing: silent


@pytest.mark.parametrize(
    ("samples", "word"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (syllables(lead=5.0), "5 s of silence"),
        (syllables(loud=0.012), "faint"),
        ((syllables() * 40).clip(-1, 1), "overdriven"),
        (chords(), "music"),
        (tone(), "steady tone"),
        (tone(1000), "steady tone"),
        (noise_bursts(), "no voice"),
        (np.random.default_rng(0).normal(0, 0.1, 6 * RATE).astype(np.float32), "music or steady noise"),
    ],
)
def test_each_concern_is_named(samples, word):
    assert any(word in warning for warning in audio_warnings(samples))


def test_silence():
    assert is_silent(np.zeros(RATE, np.float32)) and is_silent(np.full(RATE, 1e-4, np.float32))
    assert not is_silent(syllables(loud=0.012)) and not is_silent(syllables(lead=5.0))


@pytest.mark.parametrize("samples", [chords(2.0), tone(seconds=2.0), noise_bursts(2.0)])
def test_short_recordings_are_not_judged(samples):
    assert audio_warnings(samples) == []


def test_voiced_share_and_range(monkeypatch):
    sounding = np.ones(200, bool)
    share, semitones = voiced_share_and_range(tone(), sounding)
    assert share > 0.95 and semitones == pytest.approx(0, abs=0.1)
    assert voiced_share_and_range(noise_bursts(), sounding) == (0.0, 0.0)
    octave = np.concatenate([tone(110, 4), tone(220, 4)])
    share, semitones = voiced_share_and_range(octave, sounding)
    assert share > 0.95 and semitones == pytest.approx(12, abs=0.5)
    monkeypatch.setattr(audio_checks, "CHUNK_SAMPLES", 10 * 640)  # long recordings are measured in chunks
    assert voiced_share_and_range(octave, sounding)[1] == pytest.approx(semitones, abs=0.1)


def test_low_energy_share():
    assert low_energy_share(frame_power(chords())) < 0.05 < 0.3 < low_energy_share(frame_power(syllables()))
    assert frame_power(np.zeros(3, np.float32)).tolist() == [0.0]
