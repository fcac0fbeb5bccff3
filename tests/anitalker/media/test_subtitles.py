"""Subtitles: what is read of SRT files, what is refused, how they are drawn and stored."""

import subprocess

import numpy as np
import pytest

from anitalker.config import InputError, RenderOptions
from anitalker.media.formats import check_video_output
from anitalker.media.subtitles import Cue, Subtitles, check_letters, drawing_filter, read_subtitles, track_text, within
from anitalker.media.video import ffmpeg, probe, read_frames
from anitalker.media.writer import VideoWriter

SRT = """\ufeff1
00:00:00,200 --> 00:00:00,600 X1:40
<font color="red">Hello</font>, <i>you</i> {\\an8}there
and {C:\\Nemo}

2
00:00:01.000 --> 00:00:09,000
Grüße
"""


@pytest.fixture
def srt(tmp_path):
    def write(text=SRT, name="texts.srt", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def test_cues(srt):
    first, second = read_subtitles(srt())
    assert first == Cue(0.2, 0.6, "Hello, <i>you</i> there\nand {C:\\Nemo}")
    assert second == Cue(1.0, 9.0, "Grüße")
    assert read_subtitles(srt(SRT[1:], encoding="utf-16"))[1].text == "Grüße"


def test_a_video_shows_what_is_in_it(srt):
    cues = read_subtitles(srt())
    assert [cue.end for cue in within(cues, 1.5)] == [0.6, 1.5] and len(within(cues, 0.9)) == 1
    with pytest.raises(InputError, match=r"begin after the video, which lasts 0.10 s"):
        within(cues, 0.1)


def test_what_is_written_is_read_again(srt):
    cues = read_subtitles(srt())
    again = read_subtitles(srt(track_text(cues), "again.srt"))
    assert [(cue.start, cue.end) for cue in again] == [(cue.start, cue.end) for cue in cues]
    assert again[0].text.replace("\u2060", "") == "Hello, <i>you</i> there\nand (C:\\Nemo)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "have 0 texts"),
        ("1\n00:00:01 --> 00:00:02,000\na", r"line 2: '00:00:01 --> 00:00:02,000'; a time is 00:00:01,500"),
        ("1\n00:00:02,000 --> 00:00:01,000\na", "line 2: the text ends at 1 s, but begins at 2 s"),
        ("\0\ud800", "not text"),
    ],
)
def test_what_is_refused(srt, text, message):
    file = srt("")
    file.write_bytes(text.encode("utf-8", "surrogatepass") if "-->" in text or text == "hello" else b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match=message):
        read_subtitles(file)


def test_other_files_are_refused(srt, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.srt"):
        read_subtitles(srt(name="texts.vtt"))
    with pytest.raises(InputError, match="subtitles is missing"):
        read_subtitles(tmp_path / "none.srt")


def test_checked_with_the_output(srt, tmp_path):
    with pytest.raises(InputError, match="GIF has no tracks"):
        check_video_output(tmp_path / "a.gif", options=RenderOptions(subtitles=str(srt()), subtitles_as="track"))
    with pytest.raises(InputError, match="have 0 texts"):
        check_video_output(
            tmp_path / "a.mp4",
            options=RenderOptions(subtitles=str(srt("", "empty.srt").write_text("x") and tmp_path / "empty.srt")),
        )


def video(path, subtitles, speech=None, seconds=2):
    with VideoWriter(path, 320, 240, speech, subtitles=subtitles) as writer:
        for _ in range(25 * seconds):
            writer.write(np.full((240, 320, 3), 100, np.uint8))
    return path


@pytest.mark.parametrize("name", ["out.mp4", "out.gif"])
def test_drawn(srt, tmp_path, name):
    """White letters with a dark edge at the bottom while the text lasts, the plain frame before, between and above."""
    file = video(tmp_path / name, Subtitles(within(read_subtitles(srt()), 2), True))
    frames = list(read_frames(file))
    assert len(frames) == 50
    for number in (0, 4, 16, 24):
        assert np.ptp(frames[number].astype(int)) <= 6
    for number in (6, 14, 26, 49):
        frame = frames[number].astype(int)
        assert frame.max() > 220 and frame.min() < 40
        assert np.ptp(frame[:140]) <= 6
    letters = np.argwhere(frames[26][..., 0] > 200)
    assert letters[:, 0].min() > 195 and abs(letters[:, 1].mean() - 160) < 5


def test_above_the_label(srt, tmp_path):
    cues = within(read_subtitles(srt()), 2)
    frame = list(read_frames(video(tmp_path / "out.mp4", Subtitles(cues, True, above_label=True))))[26]
    assert np.ptp(frame[-32:].astype(int)) <= 6 and frame.max() > 220


@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "mov_text"), ("out.mov", "mov_text"), ("out.webm", "webvtt")])
@pytest.mark.parametrize("with_sound", [False, True])
def test_track(srt, tmp_path, clicks, name, codec, with_sound):
    cues = within(read_subtitles(srt()), 2)
    file = video(tmp_path / name, Subtitles(cues, False), clicks if with_sound else None)
    tracks = [(track.kind, track.codec) for track in probe(file).tracks]
    assert ("Subtitle", codec) in tracks and len(tracks) == 1 + with_sound
    command = [ffmpeg(), "-v", "error", "-i", str(file), "-map", "0:s", "-f", "srt", "pipe:1"]
    texts = subprocess.run(command, capture_output=True, check=True).stdout.decode().replace("\u2060", "")
    assert "00:00:00,200 --> 00:00:00,600\nHello, <i>you</i> there\nand (C:\\Nemo)" in texts
    assert "00:00:01,000 --> 00:00:02,000\nGrüße" in texts
    assert all(np.ptp(frame.astype(int)) <= 6 for frame in read_frames(file))


def test_letters_that_no_font_has(tmp_path):
    """From the planes for private use: no font of a system has them."""
    check_letters((Cue(0, 1, "plain"),), tmp_path)
    with pytest.raises(InputError, match=r"no font of this machine has: '.U0010fffd'; install a font"):
        check_letters((Cue(0, 1, "plain"), Cue(1, 2, "a \U0010fffd b")), tmp_path)


def test_paths_of_any_letters(tmp_path):
    folder = tmp_path / "it's [a], b; c:\\"
    folder.mkdir()
    check_letters((Cue(0, 1, "x"),), folder)
    script = drawing_filter(folder / "letters.ass")
    source = ("-f", "lavfi", "-i", "color=duration=0.1", "-vf", script, "-f", "null", "-")
    assert subprocess.run([ffmpeg(), "-v", "error", *source], check=False).returncode == 0
