"""The mark of synthetic sound: faint, found and read after what happens to sound, never found elsewhere."""

import subprocess

import numpy as np
import pytest

from anitalker.config import SAMPLE_RATE
from anitalker.media.video import ffmpeg, read_audio
from anitalker.provenance import audio_mark
from anitalker.provenance.audio_mark import hop, mark, mark_speech
from anitalker.provenance.audio_mark_search import FALSE_ALARM_PROBABILITY, detect_sound, threshold

IDENTIFIER = "0123456789abcdef"


def marked(samples, rate=SAMPLE_RATE, length=100_000, identifier=IDENTIFIER):
    """Samples [N] or [N,C] with the mark, in pieces of a length."""
    sound = samples if samples.ndim == 2 else samples[:, None]
    pieces = (sound[start : start + length] for start in range(0, len(sound), length))
    return np.concatenate(list(mark(pieces, rate, identifier))).reshape(samples.shape)


@pytest.fixture(scope="module")
def speech(root):
    return read_audio(root / "app/examples/speech.flac")[: 7 * SAMPLE_RATE]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("count", [0, 1, 700, 5_003])
def test_as_long_as_before_and_the_same_in_pieces(rate, count):
    sound = np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32)
    whole = marked(sound, rate)
    assert whole.shape == sound.shape and whole.dtype == np.float32
    for length in (1, 333) if count < 1000 else (333, 4_000):
        np.testing.assert_allclose(marked(sound, rate, length), whole, atol=1e-5)


def test_live_speech_comes_a_hop_or_two_late(speech):
    """In blocks of a video frame, each without those after it; the same mark as of the whole."""
    blocks = [speech[start : start + 640] for start in range(0, 6 * SAMPLE_RATE, 640)]
    arrived, sent, out = 0, 0, []

    def arriving():
        nonlocal arrived
        for block in blocks:
            arrived += len(block)
            yield block

    for block in mark_speech(arriving(), IDENTIFIER):
        out.append(block)
        sent += len(block)
        assert arrived - sent <= 2 * hop(SAMPLE_RATE)
    sound = np.concatenate(out)
    np.testing.assert_allclose(sound, marked(speech[: 6 * SAMPLE_RATE]), atol=1e-5)
    assert detect_sound(sound).identifier == IDENTIFIER


def test_sentences_that_follow_one_another_are_one_pattern(speech):
    """Each marked by itself, where the one before ended in the pattern."""
    frame = hop(SAMPLE_RATE)
    parts = np.split(speech[: 300 * frame], [90 * frame, 171 * frame, 260 * frame])
    firsts = [0, 90, 171, 260]
    sound = np.concatenate(
        [p for pair in zip(parts, firsts, strict=True) for p in mark_speech([pair[0]], IDENTIFIER, pair[1])]
    )
    apart = np.concatenate([piece for part in parts for piece in mark_speech([part], IDENTIFIER)])
    assert detect_sound(sound).identifier == IDENTIFIER
    assert detect_sound(sound).score > detect_sound(apart).score + 1


def test_only_one_decibel_and_only_where_there_is_sound(speech):
    changed = marked(speech) - speech
    assert 20 < 10 * np.log10(np.mean(speech**2) / np.mean(changed**2)) < 40
    silent = np.pad(speech, SAMPLE_RATE)
    assert np.abs(marked(silent)[: SAMPLE_RATE - 640]).max() < 1e-6
    tone = np.sin(2 * np.pi * 500 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32) / 2
    assert np.abs(marked(tone) - tone)[1_000:-1_000].max() < 0.002, "below 1 kHz nothing changes"


ATTACKS = {
    "as made": [],
    "AAC, 96 kbit/s": ["-c:a", "aac", "-b:a", "96k", "out.m4a"],
    "MP3, 128 kbit/s": ["-c:a", "libmp3lame", "-b:a", "128k", "out.mp3"],
    "44.1 kHz, cut, softer": ["-ss", "0.7134", "-af", "volume=0.2", "-ar", "44100", "out.wav"],
    "stereo, inverted": ["-af", "pan=stereo|c0=-1*c0|c1=-0.5*c0", "out.flac"],
}


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_found_after(attack, speech, make_wav, tmp_path):
    file = make_wav(tmp_path / "marked.wav", marked(speech))
    if ATTACKS[attack]:
        *changes, name = ATTACKS[attack]
        subprocess.run([ffmpeg(), "-v", "error", "-i", str(file), *changes, str(tmp_path / name)], check=True)
        file = tmp_path / name
    detection = detect_sound(read_audio(file))
    assert detection.found and detection.score > detection.threshold
    assert detection.identifier == IDENTIFIER


def test_not_found_where_it_is_not(speech):
    rng = np.random.default_rng(0)
    for sound in (speech, speech[5_000:60_000], rng.standard_normal(80_000).astype(np.float32) / 9):
        detection = detect_sound(sound)
        assert not detection.found and detection.identifier is None and detection.score < 5


def test_silence_and_nothing():
    for count in (0, 10, 90_000):
        assert detect_sound(np.zeros(count, np.float32)).score == 0


def test_a_stretch_in_long_sound(speech):
    """Ten seconds of speech between minutes of other sound are found, and where."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(60 * SAMPLE_RATE).astype(np.float32) / 20
    detection = detect_sound(np.concatenate([noise, marked(np.tile(speech, 2)), noise]))
    assert detection.found and detection.identifier == IDENTIFIER
    assert detection.seconds is not None and 49 < detection.seconds < 66


def test_the_threshold_grows_with_the_number_of_candidates():
    assert 256 * np.exp(-(threshold(256) ** 2) / 2) == pytest.approx(FALSE_ALARM_PROBABILITY)
    assert threshold(256) < threshold(100_000) < 8


def test_the_pattern_never_changes():
    """Old files must be found and read."""
    signs, bits = audio_mark.cells()
    assert signs.shape == bits.shape == (64, 120)
    assert signs[0, :8].tolist() == [1, 1, -1, 1, -1, 1, -1, -1]
    assert bits[0, :8].tolist() == [121, -1, 14, 19, 91, 9, 35, 18]
    assert (bits < 0).mean() == pytest.approx(0.3) and np.bincount(bits[bits >= 0]).min() == 42
