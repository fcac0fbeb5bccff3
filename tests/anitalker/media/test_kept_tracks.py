"""Audio tracks, subtitles and chapters of the original that a dubbed video keeps, cut to its stretch."""

import logging
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from anitalker.media.clip import open_clip
from anitalker.media.streams import Track
from anitalker.media.video import ffmpeg, probe
from anitalker.media.writer import VideoWriter

SUBTITLES = """1
00:00:00,200 --> 00:00:00,800
Hello

2
00:00:01,500 --> 00:00:02,500
World
"""
CHAPTERS = """;FFMETADATA1
title=Film
[CHAPTER]
TIMEBASE=1/1000
START=0
END=1000
title=First
[CHAPTER]
TIMEBASE=1/1000
START=1000
END=3000
title=Second
"""


def run(*arguments):
    return subprocess.run([ffmpeg(), "-y", *map(str, arguments)], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory, clicks):
    """3 s: pictures, English (default), German commentary, French in a codec that MP4 does not hold, subtitles."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "s.srt").write_text(SUBTITLES)
    (folder / "c.txt").write_text(CHAPTERS)
    tones = [item for pitch in (300, 500, 700) for item in ("-f", "lavfi", "-i", f"sine={pitch}:d=3")]
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=64x64:r=30000/1001:d=3", *tones, "-i", folder / "s.srt"]
    tags = {"a:0": "eng", "a:1": "deu", "a:2": "fra", "s:0": "spa"}
    languages = [item for track, name in tags.items() for item in (f"-metadata:s:{track}", f"language={name}")]
    maps = [item for number in range(5) for item in ("-map", number)]
    run(*inputs, "-i", folder / "c.txt", *maps, "-map_metadata", 5, "-map_chapters", 5, "-c:v", "libx264", "-g", 10,
        "-c:a", "aac", "-c:a:2", "libvorbis", "-c:s", "ass", *languages, "-metadata:s:a:1", "title=Commentary",
        folder / "film.mkv")  # fmt: skip
    return folder / "film.mkv"


def dub(path, keep, speech, frames=60):
    with VideoWriter(path, 64, 64, speech, fps=keep.fps, keep=keep) as writer:
        for _ in range(frames):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    told = subprocess.run([ffmpeg(), "-hide_banner", "-i", str(path)], capture_output=True, text=True, check=False)
    return told.stderr


def loudest(path, track):
    """Pitch [Hz] of an audio track, and its length [s]."""
    command = ["-v", "error", "-i", path, "-map", f"0:a:{track}", "-ac", 1, "-ar", 16000, "-f", "s16le", "pipe:1"]
    data = subprocess.run([ffmpeg(), *map(str, command)], capture_output=True, check=True).stdout
    samples = np.frombuffer(data, "<i2").astype(float)
    return np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples), len(samples) / 16000


@pytest.mark.slow
def test_tracks_are_kept(film, tmp_path, clicks):
    clip = open_clip(film)
    assert [(track.kind, track.codec) for track in clip.media.tracks] == [
        ("Audio", "aac"), ("Audio", "aac"), ("Audio", "vorbis"), ("Subtitle", "ass")
    ]  # fmt: skip
    told = dub(tmp_path / "x.mp4", replace(clip, frames=60), clicks)
    assert re.search(r"Stream #0:0\S*: Video: h264 .* 29.97 fps", told)
    assert re.search(r"Stream #0:1\S*: Audio: aac .*\(default\)", told)
    assert re.search(r"Stream #0:2\S*\(deu\): Audio: aac .*, 44100 Hz, mono, fltp, \d+ kb/s$", told, re.MULTILINE)
    assert re.search(r"Stream #0:3\S*\(fra\): Audio: aac ", told), "Vorbis is encoded again"
    assert re.search(r"Stream #0:4\S*\(spa\): Subtitle: mov_text ", told)
    assert "Commentary" in told and "Synthetic media" in told and "Film" not in told
    assert not re.search(r"\(eng\): Audio", told), "the new sound takes its place"
    for track, pitch in ((1, 500), (2, 700)):
        heard, seconds = loudest(tmp_path / "x.mp4", track)
        assert abs(heard - pitch) < 2 and abs(seconds - 60 * 1001 / 30000) < 0.06
    assert probe(tmp_path / "x.mp4").seconds < 2.06, "the last subtitle is cut"
    chapters = re.findall(r"Chapter #0:\d: start ([\d.]+), end ([\d.]+)\n.*\n +title +: (\w+)", told)
    assert [title for *_, title in chapters] == ["First", "Second"]
    assert [float(end) for _, end, _ in chapters] == pytest.approx([1.0, 2.002], abs=0.01)


def test_they_are_cut_to_the_stretch(film, tmp_path, clicks):
    told = dub(tmp_path / "x.mp4", open_clip(film, 1.2, 2.8), clicks, 48)
    run("-i", tmp_path / "x.mp4", "-map", "0:s:0", tmp_path / "x.srt")
    texts = (tmp_path / "x.srt").read_text().split("\n")
    assert "World" in texts and "Hello" not in texts
    start = re.match(r"00:00:00,(\d+) --> 00:00:01,(\d+)", texts[1])
    assert abs(int(start[1]) - 299) < 3 and abs(int(start[2]) - 299) < 3  # 1.5 s and 2.5 s, less 1.2012 s
    assert abs(loudest(tmp_path / "x.mp4", 1)[1] - 1.6) < 0.06
    assert re.findall(r"title +: (\w+)", told)[-1] == "Second" and "First" not in told


@pytest.mark.slow
def test_a_text_that_began_before(film, tmp_path, clicks):
    """MP4 cannot hold a time before zero: the whole track was shifted."""
    dub(tmp_path / "x.mp4", open_clip(film, 0.5005, 2.2), clicks, 51)
    run("-i", tmp_path / "x.mp4", "-map", "0:s:0", tmp_path / "x.srt")
    times = re.findall(r"00:00:0([\d,]+) --> 00:00:0([\d,]+)", (tmp_path / "x.srt").read_text())
    seconds = [float(time.replace(",", ".")) for pair in times for time in pair]
    assert seconds == pytest.approx([0, 0.3, 1.0, 1.7], abs=0.02)


def test_nothing_else_to_keep(tmp_path, clicks):
    """A video alone: what is written is what is written without it, to the byte."""
    with VideoWriter(tmp_path / "plain.mp4", 64, 64, clicks) as writer:
        for _ in range(10):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    dub(tmp_path / "x.mp4", open_clip(tmp_path / "plain.mp4"), clicks, 10)
    assert (tmp_path / "x.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


def test_tracks_without_new_sound(film, tmp_path):
    clip = open_clip(film)
    dub(tmp_path / "x.mp4", clip, None, 90)
    assert loudest(tmp_path / "x.mp4", 0)[0] == pytest.approx(500, abs=2)
    assert len(probe(tmp_path / "x.mp4").tracks) == 3


def test_subtitles_that_are_pictures(film, tmp_path, clicks, caplog):
    clip = open_clip(film)
    tracks = (*clip.media.tracks[:1], Track(4, "Subtitle", "hdmv_pgs_subtitle"))
    clip = replace(clip, media=replace(clip.media, tracks=tracks))
    with caplog.at_level(logging.WARNING):
        told = dub(tmp_path / "x.mp4", clip, clicks)
    assert [record.getMessage() for record in caplog.records] == [
        "subtitle track 4 (hdmv_pgs_subtitle) cannot be kept in MP4: it is left out"
    ]
    assert "Subtitle:" not in told
