"""The original's cepstral features: counts, each step by the book, silence, pieces."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dct

from encoders import mfcc


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


def by_the_book(sound: np.ndarray) -> np.ndarray:
    """[K,13], frame by frame and band by band."""
    sound = sound.astype(np.float64)
    emphasised = np.append(sound[0], sound[1:] - 0.97 * sound[:-1])
    count = 1 if len(sound) <= 400 else 1 + math.ceil((len(sound) - 400) / 160)
    emphasised = np.append(emphasised, np.zeros(160 * count + 400))
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28)
    edges = np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16_000).astype(int)
    rows = []
    for frame in range(count):
        power = np.abs(np.fft.rfft(emphasised[frame * 160 : frame * 160 + 400], 512)) ** 2 / 512
        bands = np.zeros(26)
        for band, (low, middle, high) in enumerate(zip(edges[:-2], edges[1:-1], edges[2:], strict=True)):
            for place in range(low, middle):
                bands[band] += power[place] * (place - low) / (middle - low)
            for place in range(middle, high):
                bands[band] += power[place] * (high - place) / (high - middle)
        logs = np.log(np.where(bands == 0, 2.220446049250313e-16, bands))
        row = dct(logs, norm="ortho")[:13] * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
        row[0] = np.log(power.sum() or 2.220446049250313e-16)
        rows.append(row)
    return np.stack(rows)


@pytest.mark.parametrize(
    ("samples", "count"), [(1, 1), (399, 1), (400, 1), (401, 2), (560, 2), (561, 3), (16_000, 99), (48_000, 299)]
)
def test_one_row_per_ten_milliseconds(samples, count):
    result = mfcc.features(noise(samples))
    assert result.shape == (count, mfcc.SIZE) == (mfcc.frame_count(samples), 39)
    assert result.dtype == torch.float32 and result.isfinite().all()


@pytest.mark.parametrize("samples", [1, 300, 400, 401, 3210])
def test_cepstra_are_those_of_the_book(samples):
    sound = noise(samples)
    result = mfcc.features(sound)[:, :13].numpy()
    np.testing.assert_allclose(result, by_the_book(sound.numpy()), rtol=1e-5, atol=1e-5)


def test_silence_has_a_floor():
    """Exact zeros count as the smallest step of a float64 above 1; sound around them stays what it is."""
    sound = noise(4000)
    sound[1000:2500] = 0
    result = mfcc.features(sound)[:, :13].numpy()
    np.testing.assert_allclose(result, by_the_book(sound.numpy()), rtol=1e-5, atol=1e-4)
    assert result[8, 0] == np.float32(math.log(2.0**-52))  # samples 1280 to 1679
    assert np.abs(result[8, 1:]).max() < 1e-4


def test_slopes_are_of_the_cepstra_and_repeat_the_edges():
    result = mfcc.features(noise(3210)).numpy().astype(np.float64)
    rows = np.pad(result[:, :13], ((2, 2), (0, 0)), "edge")
    np.testing.assert_allclose(result[:, 13:26], (rows[3:-1] - rows[1:-3]) / 2, atol=1e-5)
    both = (rows[3:-1] - rows[1:-3] + 2 * (rows[4:] - rows[:-4])) / 10
    np.testing.assert_allclose(result[:, 26:], both, atol=1e-5)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_long_recordings_are_measured_in_pieces(monkeypatch, piece):
    sound = noise(5000)
    whole = mfcc.features(sound)
    monkeypatch.setattr(mfcc, "CHUNK_FRAMES", piece)
    assert torch.allclose(mfcc.features(sound), whole, atol=1e-6)


@pytest.mark.parametrize("shape", [(0,), (1, 400)])
def test_what_is_no_recording_is_refused(shape):
    with pytest.raises(ValueError, match="at least one sample"):
        mfcc.features(torch.zeros(shape))
