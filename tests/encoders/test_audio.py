"""Levels, frame counts, resampling and mel filters; the last two with torchaudio and without it."""

import builtins
import math
import sys

import numpy as np
import pytest
import torch

from encoders import audio


@pytest.fixture
def hide_torchaudio(monkeypatch):
    """A function after whose call importing torchaudio raises the given error."""
    import_module = builtins.__import__

    def hide(error: type[Exception] = ImportError) -> None:
        def refuse(name, *arguments, **options):
            if name.split(".")[0] == "torchaudio":
                raise error(f"cannot load {name}")
            return import_module(name, *arguments, **options)

        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(builtins, "__import__", refuse)

    return hide


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_torchaudio_may_be_absent_or_built_for_another_torch(error, hide_torchaudio):
    pytest.importorskip("torchaudio", reason="not installed, or not for this torch")
    assert audio.torchaudio_functional().__name__ == "torchaudio.functional"
    hide_torchaudio(error)
    assert audio.torchaudio_functional() is None


def band_limited(rate: int, top: float, seed: int = 0) -> torch.Tensor:
    """One second at `rate` Hz of forty sines of random phase up to `top` Hz, within -1..1."""
    phases = torch.rand(40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 * math.pi
    time = torch.arange(rate, dtype=torch.float64) / rate
    sines = (2 * math.pi * torch.linspace(50, top, 40, dtype=torch.float64)[:, None] * time + phases[:, None]).sin()
    return (sines.sum(0) / 20).float()


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


RATES = [(44_100, 16_000), (48_000, 16_000), (22_050, 16_000), (8000, 16_000), (16_000, 48_000)]


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_resampling_keeps_what_both_rates_can_hold(rate_in, rate_out):
    top = 0.8 * min(rate_in, rate_out) / 2
    resampled = audio.resample(band_limited(rate_in, top), rate_in, rate_out)
    edge = rate_out // 100
    expected = band_limited(rate_out, top)
    assert resampled.shape == (rate_out,)
    assert (resampled - expected)[edge:-edge].abs().max() < 1e-3


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_resampling_is_the_same_without_torchaudio(rate_in, rate_out, hide_torchaudio):
    pytest.importorskip("torchaudio", reason="not installed, or not for this torch")
    sound = band_limited(rate_in, 0.9 * min(rate_in, rate_out) / 2)[: rate_in - 17]
    sound = torch.stack([sound, sound.flip(0)])
    expected = audio.resample(sound, rate_in, rate_out)
    hide_torchaudio()
    resampled = audio.resample(sound, rate_in, rate_out)
    edge = rate_out // 100
    assert resampled.shape == expected.shape == (2, math.ceil((rate_in - 17) * rate_out / rate_in))
    assert resampled.dtype == expected.dtype == torch.float32
    assert (resampled - expected)[:, edge:-edge].abs().max() < 2e-4


def test_what_the_lower_rate_cannot_hold_is_filtered_out(hide_torchaudio):
    whistle = torch.sin(2 * math.pi * 10_000 * torch.arange(48_000, dtype=torch.float64) / 48_000).float()
    assert audio.resample(whistle, 48_000, 16_000)[160:-160].abs().max() < 1e-3
    hide_torchaudio()
    assert audio.resample(whistle, 48_000, 16_000)[160:-160].abs().max() < 1e-3


def test_an_equal_rate_changes_nothing():
    sound = band_limited(16_000, 8000)
    assert torch.equal(audio.resample(sound, 16_000, 16_000), sound)


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1)])
def test_rates_must_be_positive(rates):
    with pytest.raises(ValueError, match="both must be positive"):
        audio.resample(torch.zeros(10), *rates)


@pytest.mark.slow  # librosa compiles itself on its first import, in some 15 s
@pytest.mark.parametrize(("n_fft", "n_mels"), [(1024, 80), (512, 40)])
def test_mel_filters_are_the_same_without_torchaudio(n_fft, n_mels, hide_torchaudio):
    pytest.importorskip("torchaudio", reason="not installed, or not for this torch")
    expected = audio.mel_filters(n_fft, n_mels)
    assert expected.shape == (n_fft // 2 + 1, n_mels) and expected.dtype == torch.float32
    hide_torchaudio()
    filters = audio.mel_filters(n_fft, n_mels)
    assert filters.is_contiguous()
    torch.testing.assert_close(filters, expected, atol=1e-5, rtol=0)


def test_mel_filters_are_triangles_of_the_htk_scale():
    """Neighbours add up to 1 between the first and the last peak, and peaks are 2595 log10(1 + f / 700) apart."""
    filters = audio.mel_filters(4096, 20).double().numpy()
    peaks = filters.argmax(0) * 16_000 / 4096
    between = slice(filters[:, 0].argmax() + 1, filters[:, -1].argmax())
    np.testing.assert_allclose(filters[between].sum(1), 1, atol=1e-4)
    np.testing.assert_allclose(np.diff(2595 * np.log10(1 + peaks / 700)), 2761.7 / 21, rtol=0.05)
