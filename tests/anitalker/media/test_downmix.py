"""Channels -> one: nothing cancels, and speech keeps its loudness."""

import io
import struct

import numpy as np
import pytest

from anitalker.media.downmix import ChannelStatistics, downmix_weights, read_wav_header

N = 8000
SPEECH = 0.2 * np.sin(np.arange(N) * 0.3)
NOISE = 0.1 * np.random.default_rng(0).standard_normal(N)
SILENCE = np.zeros(N)


def mixed(*channels):
    """The channels through statistics, gathered in two pieces, and weights."""
    samples = np.stack(channels, -1).astype(np.float32)
    statistics = ChannelStatistics(len(channels))
    statistics.add(samples[:3000])
    statistics.add(samples[3000:])
    return samples @ downmix_weights(statistics.covariance())


@pytest.mark.parametrize(
    "channels",
    [
        (SPEECH,),
        (SPEECH, SPEECH),
        (SPEECH, -SPEECH),
        (SPEECH, SILENCE),
        (SILENCE, SPEECH),
        (SILENCE, SILENCE, SPEECH, SILENCE, SILENCE, SILENCE),
        (SPEECH, -SPEECH, SPEECH, -SPEECH),
        (SPEECH, SILENCE + 0.5),  # a dead channel with a constant offset
    ],
    ids=["mono", "equal", "inverted", "left", "right", "centre of 5.1", "four", "offset"],
)
def test_speech_keeps_its_loudness(channels):
    result = mixed(*channels)
    np.testing.assert_allclose(np.abs(np.corrcoef(result, SPEECH)[0, 1]), 1, atol=1e-4)
    np.testing.assert_allclose(result.std(), SPEECH.std(), rtol=1e-3)


def test_two_voices_are_both_heard():
    """A microphone each: the power of the louder, and both in it."""
    result = mixed(SPEECH, NOISE)
    assert result.std() == pytest.approx(SPEECH.std(), rel=1e-3)
    assert abs(np.corrcoef(result, SPEECH)[0, 1]) > 0.6 and abs(np.corrcoef(result, NOISE)[0, 1]) > 0.4


def test_nothing_cancels_whatever_the_channels():
    """The power of the mix is that of the loudest channel, for any correlations."""
    rng = np.random.default_rng(1)
    for channels in (2, 3, 6):
        for _ in range(50):
            samples = rng.standard_normal((200, channels)) @ rng.standard_normal((channels, channels))
            covariance = np.cov(samples.T)
            weights = downmix_weights(covariance)
            assert weights @ covariance @ weights == pytest.approx(np.diag(covariance).max())
            assert np.abs(weights).max() <= 1 + 1e-9


def test_silence_and_no_numbers():
    assert not mixed(SILENCE, SILENCE).any()
    statistics = ChannelStatistics(2)
    statistics.add(np.array([[np.nan, 0.1], [np.inf, -0.1]], np.float32))
    assert np.isfinite(statistics.covariance()).all()


def header(channels, mask=None):
    body = struct.pack("<HHIIHH", 3, channels, 16000, 64000 * channels, 4 * channels, 32)
    if mask is not None:
        body += struct.pack("<HHI16s", 22, 32, mask, b"")
    chunks = b"fmt " + struct.pack("<I", len(body)) + body + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    return b"RIFF\xff\xff\xff\xffWAVE" + chunks + b"data\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (header(1), (1, ())),
        (header(6, 0x3F), (6, (3,))),
        (header(3, 0xB), (3, (2,))),
        (header(9, 0), (9, ())),
        (header(2)[:30], None),
        (b"", None),
    ],
    ids=["mono", "5.1", "2.1", "unknown", "cut", "nothing"],
)
def test_the_header_of_a_stream(data, expected):
    stream = io.BytesIO(data + b"samples")
    assert read_wav_header(stream) == expected
    if expected:
        assert stream.read() == b"samples"
