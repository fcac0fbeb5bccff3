"""Lines of a table that dub a video: what is read, what is refused, and what a fingerprint follows."""

import json
from dataclasses import fields

import numpy as np
import pytest

from anitalker.batch import table
from anitalker.commands import dub, options
from anitalker.config import DubOptions, RenderOptions
from anitalker.media.writer import VideoWriter


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A second of grey."""
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    with VideoWriter(path, 64, 64) as writer:
        for _ in range(25):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    return path


@pytest.fixture
def place(tmp_path, video, example_portrait, clicks):
    """v.mp4, p.webp, s.wav and lines.csv, which names s.wav, beside the table."""
    for name, file in (("v.mp4", video), ("p.webp", example_portrait), ("s.wav", clicks)):
        (tmp_path / name).write_bytes(file.read_bytes())
    (tmp_path / "lines.csv").write_text("start,end,speech\n0,0.5,s.wav\n")
    return tmp_path


def read_line(place, **cells):
    """A JSON line, right but for what is given -> the jobs and the invalid rows."""
    row = {"id": "a", "video": "v.mp4", "speech": "s.wav", **cells}
    (place / "jobs.jsonl").write_text(json.dumps(row))
    return table.read(place / "jobs.jsonl")


def test_a_table_of_dubs_alone_and_a_mixed_one(place):
    text = "id,video,speech,text,segments,fit,from,to,original_sound,lips,seed\n"
    text += 'a,v.mp4,s.wav,,,loop,"0,2",0.8,0.3,0.5,7\nb,v.mp4,,Hello.,,,,,,,\nc,v.mp4,,,lines.csv,,,,,,\n'
    (place / "jobs.csv").write_text(text)
    jobs, invalid = table.read(place / "jobs.csv")
    assert not invalid and [job.kind for job in jobs] == ["speech", "text", "segments"]
    assert jobs[0].video == str(place / "v.mp4") and jobs[0].portrait == ""
    assert jobs[0].dubbing == DubOptions(fit="loop", start=0.2, stop=0.8, original_sound=0.3)
    assert jobs[0].options == RenderOptions(seed=7, lips=0.5, size="original")
    assert jobs[1].source == "Hello." and jobs[1].dubbing == DubOptions()
    assert jobs[2].files == (str(place / "s.wav"),)
    mixed = "id,portrait,video,speech,fit\na,p.webp,v.mp4,,\nb,p.webp,,s.wav,\nc,,v.mp4,s.wav,hold\n"
    (place / "jobs.csv").write_text(mixed)
    jobs, invalid = table.read(place / "jobs.csv")
    assert not invalid and [(job.kind, bool(job.video)) for job in jobs] == [
        ("video", False),
        ("speech", False),
        ("speech", True),
    ]
    assert jobs[1].options.size == RenderOptions.size and jobs[2].options.size == "original"


def test_a_performance_needs_no_sound(place):
    jobs, invalid = read_line(place, speech="v.mp4", follow="all")
    assert not invalid and jobs[0].dubbing.follow == "all" and jobs[0].source == str(place / "v.mp4")


ROWS = {
    "nothing to say": ({"speech": None}, "gives none of speech, text, segments"),
    "two sources": ({"segments": "lines.csv"}, "gives speech and segments"),
    "no video": ({"video": None}, "lacks portrait"),
    "a portrait as well": ({"portrait": "p.webp"}, "gives speech and video of speech, text, video"),
    "a dub's option beside a portrait": (
        {"portrait": "p.webp", "video": None, "fit": "loop"},
        "fit, which is for dubs",
    ),
    "a portrait's option": ({"yaw": 10}, "yaw, which has no effect on a dub"),
    "another one": ({"absolute": True}, "absolute, which has no effect on a dub"),
    "a format": ({"format": "gif"}, "format, which has no effect on a dub"),
    "sound as video": ({"video": "s.wav"}, "video has no pictures"),
    "a picture as speech": ({"speech": "p.webp"}, "speech has no sound"),
    "a missing table of lines": ({"speech": None, "segments": "none.csv"}, "segments is missing"),
    "no table of lines": ({"speech": None, "segments": "s.wav"}, "ends in .srt or .csv"),
    "an unknown fit": ({"fit": "stretch"}, "trim, loop, hold, speed"),
    "a text followed": ({"speech": None, "text": "Yes.", "follow": "lips"}, "a text shows no face; give a video"),
    "a sound followed": ({"follow": "lips"}, "performance has no pictures"),
    "too loud": ({"original_sound": 3}, "original_sound is 3"),
    "no number": ({"from": "x"}, "from is 'x'; allowed is a number"),
    "begins after the end": ({"from": 5}, "from is 5 s, but the video has pictures up to 1.00 s"),
    "ends before it begins": ({"from": 0.5, "to": 0.2}, "the second must be later"),
}


@pytest.mark.parametrize("row", ROWS)
def test_bad_lines(place, row):
    cells, words = ROWS[row]
    jobs, invalid = read_line(place, **cells)
    assert not jobs and words in invalid[0].reason and "\n" not in invalid[0].reason, invalid


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("start,end,speech\n0,0.5,none.wav\n", "segments, line 2: speech is missing"),
        ("start,end,speech\n0,0.5,v.mp4\n", "has no sound"),
        ("start,end,speech\n3,4,s.wav\n", "segments, line 2: it lasts from 3 to 4 s"),
        ("start,end\n0,1\n", "segments lacks speech"),
    ],
)
def test_bad_lines_of_segments(place, lines, words):
    (place / "lines.csv").write_text(lines)
    jobs, invalid = read_line(place, speech=None, segments="lines.csv")
    assert not jobs and words in invalid[0].reason


@pytest.mark.slow
def test_the_fingerprint_follows_video_speech_and_options(place):
    first = read_line(place)[0][0].fingerprint("model")
    assert read_line(place, fit="trim", size="original", batch_size=2)[0][0].fingerprint("model") == first
    for change in ({"fit": "hold"}, {"size": 1080}, {"to": 0.8}, {"original_sound": 0.2}, {"lips": 0.9}):
        assert read_line(place, **change)[0][0].fingerprint("model") != first, change
    (place / "v.mp4").write_bytes((place / "v.mp4").read_bytes() + b"\0" * 8)
    assert read_line(place)[0][0].fingerprint("model") != first


@pytest.mark.slow
def test_the_fingerprint_follows_every_file_that_the_lines_name(place, make_wav):
    make_wav(place / "other.wav", np.full(1600, 0.1))
    (place / "lines.csv").write_text("start,end,speech\n0,0.4,s.wav\n0.5,0.9,other.wav\n")
    cells = {"speech": None, "segments": "lines.csv"}
    first = read_line(place, **cells)[0][0].fingerprint("model")
    assert read_line(place, **cells)[0][0].fingerprint("model") == first
    make_wav(place / "other.wav", np.full(1600, 0.2))
    second = read_line(place, **cells)[0][0].fingerprint("model")
    (place / "lines.csv").write_text("start,end,speech\n0,0.4,s.wav\n0.6,0.9,other.wav\n")
    assert len({first, second, read_line(place, **cells)[0][0].fingerprint("model")}) == 3


def test_the_options_are_those_of_the_command():
    parser = options.Parser()
    dub.add_arguments(parser)
    names = set(vars(parser.parse_args(["v.mp4", "s.wav", "-o", "x.mp4"])))
    assert names & {option.name for option in fields(RenderOptions)} == set(table.DUB_OPTIONS) - {"face_backend"}
    flags = {column.replace("_", "-") for column in table.DUB_COLUMNS}
    assert all(f"--{flag} " in parser.format_help() for flag in flags)


def test_pictures_of_its_people(place):
    job = read_line(place, also="p.webp")[0][0]
    assert job.options.also == (str(place / "p.webp"),) and job.video
