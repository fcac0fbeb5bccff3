"""Recordings from real life: containers, codecs, channels, rates, leading silence; and what is none."""

import subprocess

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media.video import ffmpeg, read_audio
from tests.bad_input.command_line import arguments

RATE = 16_000


def tone(seconds=0.6, rate=48_000):
    """A burst of 300 Hz from 0.2 to 0.4 s."""
    at = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * 300 * at) * ((at > 0.2) & (at < 0.4))).astype("<f4")


def encode(path, *flags, seconds=0.6):
    """The tone through ffmpeg's encoders."""
    command = [ffmpeg(), "-v", "error", "-y", "-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "pipe:0", *flags, path]
    subprocess.run(command, input=tone(seconds).tobytes(), check=True, capture_output=True)
    return path


GOOD = {
    "WAV 8 kHz": ("x.wav", "-ar", "8000"),
    "WAV 192 kHz": ("x.wav", "-ar", "192000"),
    "WAV 24 bit stereo": ("x.wav", "-ac", "2", "-c:a", "pcm_s24le"),
    "WAV float": ("x.wav", "-c:a", "pcm_f32le"),
    "WAV 5.1": ("x.wav", "-ac", "6"),
    "A-law": ("x.wav", "-ar", "8000", "-c:a", "pcm_alaw"),
    "RF64 of a recorder": ("x.wav", "-rf64", "always"),
    "MP3": ("x.mp3",),
    "MP3 22.05 kHz": ("x.mp3", "-ar", "22050"),
    "AAC in M4A": ("x.m4a",),
    "AAC without a container": ("x.aac",),
    "FLAC 96 kHz": ("x.flac", "-ar", "96000"),
    "FLAC in Ogg": ("x.oga", "-c:a", "flac"),
    "Opus of a messenger": ("x.ogg", "-c:a", "libopus", "-b:a", "24k"),
    "Opus in WebM": ("x.webm", "-c:a", "libopus"),
    "Vorbis": ("x.ogg", "-c:a", "libvorbis"),
    "ALAC": ("x.m4a", "-c:a", "alac"),
    "WMA": ("x.wma",),
    "AC-3 5.1": ("x.ac3", "-ac", "6"),
    "AIFF": ("x.aiff",),
    "AU": ("x.au",),
    "CAF": ("x.caf",),
    "Matroska": ("x.mka", "-c:a", "pcm_s16le"),
    "3GP of a phone": ("x.3gp", "-c:a", "aac", "-ar", "16000"),
    "MPEG-TS": ("x.ts", "-c:a", "mp2"),
    "WavPack": ("x.wv",),
    "MP3 called WAV": ("x.wav", "-f", "mp3"),
    "WAV without a suffix": ("x", "-f", "wav"),
}


RARE = set(GOOD) - {"WAV 8 kHz", "WAV 192 kHz", "WAV 5.1", "MP3", "AAC in M4A", "Opus of a messenger", "MP3 called WAV"}


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=pytest.mark.slow) if name in RARE else name for name in GOOD]
)
def test_every_format_is_heard(tmp_path, case):
    """The burst is where it was, to 30 ms (a decoder may leave its encoder's delay), at any rate and channel count."""
    name, *flags = GOOD[case]
    samples = read_audio(encode(tmp_path / name, *flags))
    assert samples.dtype == np.float32 and np.abs(samples).max() <= 1
    loud = np.flatnonzero(np.abs(samples) > 0.1 * np.abs(samples).max()) / RATE
    assert loud[0] == pytest.approx(0.2, abs=0.06) and loud[-1] == pytest.approx(0.4, abs=0.06)
    assert len(samples) / RATE == pytest.approx(0.6, abs=0.15)


@pytest.mark.slow
def test_a_video_is_a_speech_source(place, rendered):
    picture = ["-f", "lavfi", "-i", "color=s=64x64:r=25:d=0.4", "-map", "1:v", "-map", "0:a"]
    encode(place / "talk.mp4", *picture, "-c:a", "aac", seconds=0.4)
    assert rendered(speech="talk.mp4").audio_codec == "aac"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers(tmp_path, value):
    """In a float WAV anything can stand; what comes out is within -1..1."""
    samples = tone(0.2, RATE)
    samples[50:60] = value
    (tmp_path / "x.raw").write_bytes(samples.tobytes())
    raw = ["-f", "f32le", "-ar", "16000", "-ac", "1", "-i", tmp_path / "x.raw", "-c:a", "pcm_f32le"]
    subprocess.run([ffmpeg(), "-v", "quiet", *raw, tmp_path / "x.wav"], check=True)
    heard = read_audio(tmp_path / "x.wav")
    assert np.isfinite(heard).all() and np.abs(heard).max() <= 1


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def test_a_cut_recording_is_heard_as_far_as_it_goes(tmp_path):
    path = encode(tmp_path / "x.mp3", seconds=4.0)
    cut(path, 0.5)
    assert 1 < len(read_audio(path)) / RATE < 3


BAD = {
    "a playlist": ("x.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngood.wav\n#EXT-X-ENDLIST\n"),
    "a list of files to join": ("x.ffconcat", b"ffconcat version 1.0\nfile good.wav\n"),
    "a text that ffmpeg would draw": ("x.txt", b"hello\n" * 50),
    "subtitles": ("x.srt", b"1\n00:00:00,000 --> 00:00:02,000\nhello\n"),
    "zeros": ("x.wav", bytes(5000)),
    "a WAV header alone": ("x.wav", b"RIFF\xff\xff\xff\xffWAVEfmt "),
    "a MIDI file": ("x.mid", b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60MTrk\x00\x00\x00\x04\x00\xff\x2f\x00"),
    "an MP4 without its index": ("x.mp4", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(3000)),
    "a page of a web server": ("x.mp3", b"<!doctype html><html><body>404 not found</body></html>"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_sound_is_refused(place, refused, case):
    name, data = BAD[case]
    (place / name).write_bytes(data)
    refused(arguments(speech=name), "speech")


def test_longer_than_memory_holds(tmp_path, monkeypatch):
    path = encode(tmp_path / "x.flac", seconds=3.0)
    monkeypatch.setattr("anitalker.media.video.MAX_SPEECH_SECONDS", 2)
    with pytest.raises(InputError, match="longer than"):
        read_audio(path)
