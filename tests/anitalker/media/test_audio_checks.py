"""Warnings about recordings: made-up syllables pass, silence, music, noise and faint or clipped sound are named."""

import numpy as np
import pytest

from anitalker.media.audio_checks import audio_warnings, frame_power, low_energy_share

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
        (np.random.default_rng(0).normal(0, 0.1, 6 * RATE).astype(np.float32), "music or steady noise"),
    ],
)
def test_each_concern_is_named(samples, word):
    assert any(word in one for one in audio_warnings(samples))


def test_short_chords_are_not_judged():
    assert audio_warnings(chords(2.0)) == []


def test_low_energy_share():
    assert low_energy_share(frame_power(chords())) < 0.05 < 0.3 < low_energy_share(frame_power(syllables()))
    assert frame_power(np.zeros(3, np.float32)).tolist() == [0.0]
