"""Tables of lines to dub: SRT and CSV, how far a recording may run, and what is wrong with a line."""

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media.clip import Clip
from anitalker.media.lines import read_lines
from anitalker.media.streams import Media

CLIP = Clip(Path("x.mp4"), Media(20.0), Fraction(25), 0.0, 500, 64, 64)  # 20 s
SRT = """1
00:00:01,000 --> 00:00:03,500
a.wav

2
0:00:05.250 --> 00:00:07,000 X1:10
long take.wav
Face 2
"""


@pytest.fixture
def folder(tmp_path, make_wav):
    make_wav(tmp_path / "a.wav", np.zeros(16_000))  # 1 s
    make_wav(tmp_path / "long take.wav", np.zeros(4 * 16_000))
    return tmp_path


def read(folder, text, name="lines.csv", clip=CLIP):
    data = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(data)
    return read_lines(folder / name, clip)


def spans(lines):
    return [(line.start, line.end, line.speech.name, line.face) for line in lines]


@pytest.mark.parametrize("text", [SRT, "\ufeff" + SRT, SRT.replace("\n", "\r\n"), SRT.rstrip()])
def test_srt(folder, text):
    lines = read(folder, text, "lines.srt")
    assert spans(lines) == [(1, 3.5, "a.wav", None), (5.25, 9.25, "long take.wav", 2)]
    assert [line.number for line in lines] == [2, 6]


@pytest.mark.parametrize(
    "text",
    [
        "start,end,speech,face\n1,3.5,a.wav,\n5.25,7,long take.wav,2\n",
        "\ufeffStart;End;Speech;Face\n1;3,5;a.wav;\n\n;;;\n0:05,25;7;long take.wav;2\n",
        "speech\tend\tstart\tface\nlong take.wav\t0:00:07.000\t00:00:05.25\t2\na.wav\t3.5\t0:01\t\n",
    ],
    ids=["plain", "spreadsheet", "tabs, in another order"],
)
def test_csv(folder, text):
    assert spans(read(folder, text)) == [(1, 3.5, "a.wav", None), (5.25, 9.25, "long take.wav", 2)]


def test_the_column_of_faces_may_be_missing(folder):
    assert spans(read(folder, "start,end,speech\n1:02:01,1:02:02.5,a.wav", clip=_later(3700, 60))) == [
        (21, 22.5, "a.wav", None)
    ]


def _later(start, seconds):
    return Clip(CLIP.path, CLIP.media, CLIP.fps, float(start), 25 * seconds, 64, 64)


@pytest.mark.parametrize(
    ("rows", "ends", "cut"),
    [
        ("1,2,long take.wav,\n4,5,a.wav,", [4, 5], "1.0"),  # up to the next line of that face
        ("1,2,long take.wav,1\n4,5,a.wav,2", [5, 5], None),  # another face is no limit
        ("18,19,long take.wav,", [20], "2.0"),
        ("1,9,long take.wav,", [9], None),
    ],
)
def test_a_recording_that_is_longer_than_its_line(folder, caplog, rows, ends, cut):
    with caplog.at_level(logging.WARNING):
        lines = read(folder, f"start,end,speech,face\n{rows}")
    assert [line.end for line in lines] == ends
    told = f"segments, line 2: the last {cut} s of its recording find no place and are cut off"
    assert [record.getMessage() for record in caplog.records] == ([told] if cut else [])


WRONG = {
    "overlap": ("1,3,a.wav,1\n2,4,a.wav,2\n2.5,4,a.wav,1", "line 2: it ends after line 4 of the same face has begun"),
    "order": ("3,2,a.wav,", "line 2: it ends at 2 s and begins at 3 s; the end must be later"),
    "missing": ("1,2,a.wav,\n3,4,b.wav,", "line 3: speech is missing: no file "),
    "no cell": ("1,2,,", "line 2: it lacks speech; it needs start, end and speech"),
    "beyond the end": ("1,2,a.wav,\n19,21,a.wav,", "line 3: it lasts from 19 to 21 s, the video from 0 to 20 s"),
    "no time": ("soon,2,a.wav,", "line 2: start is 'soon'; allowed are seconds, or H:MM:SS.mmm"),
    "no face": ("1,2,a.wav,Anna", "line 2: face is 'Anna'; allowed is an index from `anitalker faces`"),
    "too many cells": ("1,2,a,b.wav,", "line 2: 5 fields in 4 columns; quote commas"),
    "no sound": ("1,2,lines.csv,", "line 2: speech is not audio or video that ffmpeg can read"),
    "nothing": ("", "segments has no lines: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_line_is_named(folder, case):
    rows, words = WRONG[case]
    with pytest.raises(InputError, match=r"^segments(, | )") as error:
        read(folder, f"start,end,speech,face\n{rows}")
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.csv", "start,end,text\n1,2,a", r"unknown columns \['text'\]; allowed are start, end, speech, face"),
        ("x.csv", "start,end\n1,2", "segments lacks speech: "),
        ("x.csv", "start,end,speech,end\n1,2,a,3", "segments names a column twice: "),
        ("x.srt", "1\n00:00:01,000 --> later\na.wav", "segments, line 2: a cue has its times"),
        ("x.srt", "1\n00:00:01,000 --> 00:00:02,000\n\n", "segments, line 2: a cue has its times"),
        ("x.srt", "00:00:01,000 --> 00:00:02,000\na.wav\nHello!", "segments, line 1: a cue has its times"),
        ("x.srt", "00:00:01,000 --> 00:00:99,000\na.wav", "segments, line 1: it lasts from 1 to 99 s"),
        ("x.txt", "a", "allowed is a name that ends in .srt or .csv"),
        ("x.csv", b"\xff\xfe\x00", "segments is not text: "),
    ],
)
def test_a_wrong_table(folder, name, text, words):
    with pytest.raises(InputError, match=words):
        read(folder, text, name)


def test_times_are_those_of_the_file(folder):
    """With --from the lines count from there; a line before it is refused."""
    clip = _later(10, 5)
    assert spans(read(folder, "start,end,speech\n11,12,a.wav", clip=clip)) == [(1, 2, "a.wav", None)]
    with pytest.raises(InputError, match="line 2: it lasts from 9 to 10 s, the video from 10 to 15 s; correct it"):
        read(folder, "start,end,speech\n9,10,a.wav", clip=clip)
