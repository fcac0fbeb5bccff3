"""Levels, frame counts and mixing of waveforms."""

import math

import pytest
import torch

from encoders import audio


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (640, 1), (641, 2), (16_000, 25), (16_001, 26)])
def test_frames_cover_all_samples(samples, frames):
    assert audio.frame_count(samples) == frames == math.ceil(25 * samples / 16_000)


def test_level_of_a_sine_is_its_rms():
    sine = 0.1 * torch.sin(torch.arange(32_000) * 2 * math.pi * 200 / 16_000)
    assert audio.speech_level(sine) == pytest.approx(20 * math.log10(0.1 / math.sqrt(2)), abs=0.05)


def test_pauses_do_not_count():
    sine = 0.1 * torch.sin(torch.arange(32_000) * 2 * math.pi * 200 / 16_000)
    with_pause = torch.cat([sine, torch.zeros(64_000), sine])
    assert audio.speech_level(with_pause) == pytest.approx(audio.speech_level(sine), abs=0.5)


def test_faint_and_loud_speech_come_to_the_same_level():
    noise = torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    for amplitude in (0.01, 0.5):
        assert audio.speech_level(audio.normalise_level(noise * amplitude)) == pytest.approx(
            audio.SPEECH_LEVEL, abs=0.1
        )


@pytest.mark.parametrize("amplitude", [0.0, 1e-4])
def test_silence_is_not_amplified(amplitude):
    quiet = amplitude * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    assert audio.speech_level(quiet) is None
    assert torch.equal(audio.normalise_level(quiet), quiet)


def test_gain_is_limited():
    faint = 10 ** (-57 / 20) * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    louder = audio.normalise_level(faint)
    assert float((louder / faint).mean()) == pytest.approx(10 ** (audio.MAX_GAIN / 20), rel=1e-3)


def test_stereo_at_another_rate_becomes_mono_at_16_khz():
    time = torch.arange(44_100) / 44_100
    sine = torch.sin(2 * math.pi * 440 * time)
    mono = audio.to_mono(torch.stack([sine, 0 * sine]), 44_100)
    expected = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(16_000) / 16_000)
    assert mono.shape == (16_000,)
    assert torch.allclose(mono[500:-500], expected[500:-500], atol=0.01)
