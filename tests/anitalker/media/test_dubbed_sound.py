"""The sound of a dubbed video: what is heard when, how loud, aligned to the sample."""

import functools
import subprocess

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media import dubbed_sound as module
from anitalker.media.clip import open_clip
from anitalker.media.dubbed_sound import dubbed_sound
from anitalker.media.lines import Line
from anitalker.media.video import ffmpeg, probe, read_audio

RATE = 16_000


def tone(seconds, frequency, level=0.2):
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)


def run(*arguments):
    subprocess.run([ffmpeg(), "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_wav):
    """film.mkv: 2 s, a tone of 300 Hz from .5 s on, lossless; mute.mkv without sound; speech.wav: 1 s of 900 Hz."""
    folder = tmp_path_factory.mktemp("dubbed")
    make_wav(folder / "film.wav", np.concatenate([np.zeros(RATE // 2), tone(1.5, 300)]))
    picture = ["-f", "lavfi", "-i", "color=gray:s=64x64:r=25:d=2"]
    run(*picture, "-i", folder / "film.wav", "-c:v", "libx264", "-c:a", "flac", folder / "film.mkv")
    run(*picture, "-c:v", "libx264", folder / "mute.mkv")
    make_wav(folder / "speech.wav", tone(1, 900))
    return folder


@functools.cache
def clip(path, start):
    return open_clip(path, start)


def heard(folder, video="film.mkv", seconds=2.0, start=0.0, **arguments):
    with dubbed_sound(clip(folder / video, start), seconds, **arguments) as file:
        assert probe(file).audio_codec == "flac"
        samples = read_audio(file)
    assert not file.exists()
    return samples


def level(samples, frequency, at, length=0.08):
    """Amplitude of a frequency in a piece of sound."""
    piece = samples[round(at * RATE) : round((at + length) * RATE)]
    if len(piece) < round(length * RATE):
        return 0.0
    return 2 * abs(np.mean(piece * np.exp(-2j * np.pi * frequency * np.arange(len(piece)) / RATE)))


def levels(samples, frequency, *places):
    return [round(float(level(samples, frequency, at)), 2) for at in places]


def test_speech_alone(folder):
    samples = heard(folder, speech=folder / "speech.wav")
    assert len(samples) == RATE
    np.testing.assert_allclose(samples[200:15000], tone(1, 900)[200:15000], atol=0.002)  # aligned, as loud as it was
    assert levels(samples, 300, 0.6) == [0]


def test_speech_is_cut_where_the_video_ends(folder):
    assert len(heard(folder, seconds=0.6, speech=folder / "speech.wav")) == round(0.6 * RATE)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_the_original_underneath(folder, gain):
    samples = heard(folder, speech=folder / "speech.wav", original=gain)
    assert len(samples) == 2 * RATE
    assert levels(samples, 900, 0.2, 0.7, 1.5) == [0.2, 0.2, 0]
    assert levels(samples, 300, 0.2, 0.7, 1.5) == [0, 0.2 * gain, 0.2 * gain]
    begin = heard(folder, start=0.52, seconds=1.0, speech=folder / "speech.wav", original=1.0) - heard(
        folder, seconds=1.0, speech=folder / "speech.wav"
    )
    np.testing.assert_allclose(begin[400:15000], tone(2, 300)[720:15320], atol=0.003)  # 0.02 s * 16 kHz + 400


def test_frames_are_not_decoded_for_it(folder, monkeypatch):
    """ffmpeg encoded all of them as PNG, as FLAC may hold a cover, and threw them away: ten times the work."""
    from anitalker.media import video

    commands, run_command = [], video._run
    monkeypatch.setattr(video, "_run", lambda *all: commands.append(all[0]) or run_command(*all))
    heard(folder, speech=folder / "speech.wav", original=1.0)
    (mixing,) = [command for command in commands if "-filter_complex" in command]
    assert "-vn" in mixing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fit", "seconds", "places"),
    [
        ("trim", 1.0, {0.3: 0, 0.7: 0.2}),
        ("hold", 4.0, {0.7: 0.2, 1.8: 0.2, 2.1: 0, 3.0: 0}),
        ("loop", 4.0, {0.7: 0.2, 1.8: 0.2, 2.1: 0, 3.0: 0}),
        ("speed", 4.0, {0.7: 0, 1.2: 0.2, 3.7: 0.2}),
        ("speed", 1.0, {0.1: 0, 0.4: 0.2, 0.8: 0.2}),
    ],
)
def test_the_original_follows_the_playback(folder, fit, seconds, places):
    samples = heard(folder, seconds=seconds, speech=folder / "speech.wav", original=1.0, fit=fit)
    assert levels(samples, 300, *places) == pytest.approx(list(places.values()), abs=0.03)
    assert len(samples) <= seconds * RATE + 1 if fit == "trim" else len(samples) >= 1.9 * RATE or fit == "speed"


@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_lines_in_the_midst_of_the_original(folder, gain):
    """Outside of the lines the original is as it was, but for the resampling at the tone's edge."""
    lines = [Line(2, 0.8, 1.2, folder / "speech.wav"), Line(3, 1.5, 1.7, folder / "speech.wav", 1)]
    samples = heard(folder, lines=lines, original=gain)
    assert levels(samples, 900, 0.3, 0.9, 1.1, 1.3, 1.55, 1.8) == [0, 0.2, 0.2, 0, 0.2, 0]
    assert levels(samples, 300, 0.6, 0.9, 1.1, 1.3, 1.55, 1.8) == [0.2, 0.2 * gain, 0.2 * gain, 0.2, 0.2 * gain, 0.2]
    film = read_audio(folder / "film.mkv")
    for start, end in ((0.0, 0.77), (1.24, 1.47), (1.73, 1.98)):
        piece = slice(round(start * RATE), round(end * RATE))
        np.testing.assert_allclose(samples[piece], film[piece], atol=1e-3)


def test_a_line_at_the_beginning_and_lines_that_touch(folder):
    lines = [Line(2, 0.5, 0.9, folder / "speech.wav"), Line(3, 0.9, 1.1, folder / "speech.wav")]
    samples = heard(folder, start=0.48, seconds=1.5, lines=[Line(1, 0.0, 0.3, folder / "speech.wav"), *lines])
    assert levels(samples, 300, 0.1, 0.38, 0.95, 1.2) == [0, 0.2, 0, 0.2]
    assert levels(samples, 900, 0.1, 0.38, 0.95, 1.2) == [0.2, 0, 0.2, 0]


@pytest.mark.slow
def test_many_lines_are_mixed_in_groups(folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_MIXED", 2)
    lines = [Line(n, 0.2 * n, 0.2 * n + 0.1, folder / "speech.wav") for n in range(9)]
    samples = heard(folder, video="mute.mkv", lines=lines)
    assert [float(level(samples, 900, 0.2 * n + 0.02, 0.06)) for n in range(9)] == pytest.approx([0.2] * 9, abs=0.01)
    assert np.abs(samples[round(0.12 * RATE) : round(0.18 * RATE)]).max() < 0.001
    assert np.abs(samples[round(1.52 * RATE) : round(1.58 * RATE)]).max() < 0.001
    start = round(1.6 * RATE)
    np.testing.assert_allclose(samples[start + 100 : start + 1400], tone(1, 900)[100:1400], atol=0.003)


def test_a_video_without_sound_is_silent(folder):
    samples = heard(folder, video="mute.mkv", speech=folder / "speech.wav", original=1.0)
    assert len(samples) == RATE and levels(samples, 300, 0.6) == [0]


def test_two_loud_sounds_are_held_below_full_scale(folder, make_wav):
    make_wav(folder / "loud.wav", tone(2, 900, 0.99))
    samples = heard(folder, speech=folder / "loud.wav", original=2.0)
    assert np.abs(samples).max() < 1 and samples.max() > 0.9


@pytest.mark.parametrize("gain", [-0.1, 2.1, float("nan")])
def test_a_gain_that_is_not_allowed(folder, gain):
    with pytest.raises(InputError, match=r"original-sound is .*; allowed is 0 to 2"):
        heard(folder, speech=folder / "speech.wav", original=gain)
