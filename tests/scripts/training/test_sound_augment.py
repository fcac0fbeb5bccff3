"""Other microphones and rooms: what changes, and that nothing moves in time."""

import numpy as np
import pytest
from scipy.signal import correlate

from scripts.training import sound_augment
from scripts.training.sound_augment import SoundAugment


@pytest.fixture
def sound():
    """Half a second of bursts, which has one best place in time."""
    rng = np.random.default_rng(0)
    bursts = np.repeat(rng.random(25) > 0.5, 320)
    return (0.1 * rng.standard_normal(8000) * bursts).astype(np.float32)


@pytest.mark.parametrize("name", ["reverberate", "equalise", "limit_band", "quantise"])
def test_a_change_keeps_length_and_time(name, sound):
    rng = np.random.default_rng(1)
    for _ in range(4):
        changed = getattr(sound_augment, name)(sound, rng)
        assert changed.shape == sound.shape and changed.dtype == np.float32 and np.isfinite(changed).all()
        assert not np.array_equal(changed, sound)
        assert abs(int(correlate(changed, sound).argmax()) - (len(sound) - 1)) <= 16


def test_noise_stays_below_the_speech(sound):
    rng = np.random.default_rng(2)
    noises = [(3000 * rng.standard_normal(3000)).astype(np.int16)]
    for _ in range(20):
        noise = sound_augment.add_noise(sound, noises, rng) - sound
        decibels = 10 * np.log10(np.square(noise).mean() / np.square(sound).mean())
        assert -30.5 < decibels < -2.5
    silence = np.zeros(800, np.float32)
    assert np.array_equal(sound_augment.add_noise(silence, noises, rng), silence)


def test_a_seed_repeats_it_and_silence_stays_finite(sound):
    augment = SoundAugment([(sound * 9999).astype(np.int16)])
    first, second = (augment(sound, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    for seed in range(30):
        assert np.isfinite(augment(np.zeros(8000, np.float32), np.random.default_rng(seed))).all()
