"""The sound of a file: which track, how its channels are joined, and how loud it is in the video."""

import re
import subprocess
import wave

import numpy as np
import pytest

from anitalker.media.audio_checks import audio_warnings
from anitalker.media.video import ffmpeg, mix_audio, probe, read_audio, read_frames
from anitalker.media.writer import VideoWriter

RATE = 16_000
TIME = np.arange(RATE // 2) / RATE
VOICE = 0.25 * np.sin(2 * np.pi * 300 * TIME)
SILENCE = 0 * VOICE


def write(path, *channels):
    """Channels as a 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.stack(channels, -1) * 32767).astype("<i2").tobytes())
    return path


def run(*arguments):
    subprocess.run([ffmpeg(), "-v", "error", "-y", *map(str, arguments)], check=True)


def mean_volume(path):
    """The decibels that ffmpeg's volumedetect prints."""
    command = [ffmpeg(), "-hide_banner", "-i", path, "-vn", "-af", "volumedetect", "-f", "null", "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(re.search(r"mean_volume: (\S+) dB", text)[1])


def video_of(speech, folder):
    with VideoWriter(folder / "out.mp4", 64, 64, speech) as writer:
        for _ in range(13):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    return folder / "out.mp4"


CHANNELS = {
    "mono": (VOICE,),
    "stereo": (VOICE, VOICE),
    "inverted": (VOICE, -VOICE),
    "left": (VOICE, SILENCE),
    "right": (SILENCE, VOICE),
    "centre of 5.1": (SILENCE, SILENCE, VOICE, SILENCE, SILENCE, SILENCE),
    "nine channels": (SILENCE,) * 7 + (-0.5 * VOICE, VOICE),
}


@pytest.mark.parametrize("case", CHANNELS)
def test_speech_is_heard_at_its_own_loudness(tmp_path, case):
    """Inverted stereo counted as silent, one side was 6 dB quieter, the centre of 5.1 16 dB."""
    heard = read_audio(write(tmp_path / "x.wav", *CHANNELS[case]))
    assert heard.std() == pytest.approx(VOICE.std(), rel=0.01)
    assert audio_warnings(heard) == []


def test_the_boom_of_a_subwoofer_is_left_out(tmp_path):
    boom = 0.9 * np.sin(2 * np.pi * 40 * TIME)
    heard = read_audio(write(tmp_path / "x.wav", SILENCE, SILENCE, VOICE, boom, SILENCE, SILENCE))
    # The module `wave` writes no channel mask; ffmpeg takes six channels for 5.1.
    assert heard.std() == pytest.approx(VOICE.std(), rel=0.01)


@pytest.mark.parametrize("case", ["mono", "stereo", "inverted", "left"])
def test_the_video_is_as_loud_as_the_recording(tmp_path, case):
    """Mono became 3 dB quieter."""
    speech = write(tmp_path / "x.wav", *CHANNELS[case])
    video = video_of(speech, tmp_path)
    assert mean_volume(video) == pytest.approx(mean_volume(speech), abs=0.3)
    assert probe(video).audio_layout == ("mono" if case == "mono" else "stereo")


@pytest.mark.parametrize("case", ["centre of 5.1", "nine channels"])
def test_more_channels_keep_the_power_of_the_voice(tmp_path, case):
    """5.1 of 16 bits was 8 dB quieter; nine channels ended in an error of ours."""
    video = video_of(write(tmp_path / "x.wav", *CHANNELS[case]), tmp_path)
    assert read_audio(video).std() == pytest.approx(VOICE.std() * (0.5**0.5 if "5.1" in case else 1), rel=0.05)


def test_a_full_mix_of_5_1_does_not_clip(tmp_path):
    loud = 0.9 * np.sin(2 * np.pi * 300 * TIME)
    video = video_of(write(tmp_path / "x.wav", *[loud] * 6), tmp_path)
    assert 0.8 < np.abs(read_audio(video)).max() < 0.995


@pytest.fixture(scope="module")
def two_tracks(tmp_path_factory):
    """Silence first, then the voice, which is marked as default."""
    folder = tmp_path_factory.mktemp("tracks")
    silence, voice = write(folder / "a.wav", SILENCE), write(folder / "b.wav", VOICE)
    path = folder / "two.mkv"
    flags = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:a:0", "0", "-disposition:a:1", "default"]
    run("-i", silence, "-i", voice, *flags, path)
    return path


def test_the_default_track_is_heard_and_written(two_tracks, tmp_path):
    assert read_audio(two_tracks).std() == pytest.approx(VOICE.std(), rel=0.01)
    assert read_audio(video_of(two_tracks, tmp_path)).std() == pytest.approx(VOICE.std(), rel=0.02)
    mix_audio([two_tracks], tmp_path / "mix.flac")
    assert read_audio(tmp_path / "mix.flac").std() == pytest.approx(VOICE.std(), rel=0.02)


@pytest.mark.parametrize("suffix", ["mp3", "m4a"])
def test_a_cover_is_no_video(tmp_path, suffix):
    voice = write(tmp_path / "a.wav", VOICE)
    run("-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", "1", tmp_path / "cover.png")
    flags = ["-map", "1", "-map", "0", "-c:v", "png", "-disposition:v", "attached_pic"]
    run("-i", tmp_path / "cover.png", "-i", voice, *flags, tmp_path / f"x.{suffix}")
    media = probe(tmp_path / f"x.{suffix}")
    assert media.video_codec is None and media.audio_codec is not None
    with pytest.raises(Exception, match="has no pictures"):
        next(read_frames(tmp_path / f"x.{suffix}"))
    assert read_audio(tmp_path / f"x.{suffix}").std() == pytest.approx(VOICE.std(), rel=0.1)


@pytest.mark.parametrize("second", ["mono", "stereo"])
def test_a_mix_keeps_each_loudness(tmp_path, second):
    """A voice and silence, mono or stereo: the mix is as loud as the voice, on every side."""
    voice = write(tmp_path / "a.wav", VOICE)
    silent = write(tmp_path / "b.wav", *[SILENCE] * len(CHANNELS[second]))
    mix_audio([voice, silent], tmp_path / "mix.flac")
    assert mean_volume(tmp_path / "mix.flac") == pytest.approx(mean_volume(voice), abs=0.2)
    assert probe(tmp_path / "mix.flac").audio_layout == second


def test_channels_of_a_long_recording_are_mixed_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("anitalker.media.video.PIECE_SAMPLES", 1000)
    heard = read_audio(write(tmp_path / "x.wav", VOICE, -VOICE))
    np.testing.assert_allclose(np.abs(heard), np.abs(VOICE), atol=1e-3)
