"""A batch that dubs, with the shipped model: speech, text and lines in one table, and what is done is skipped."""

import json

import numpy as np
import pytest

from anitalker.cli import main
from anitalker.media.video import probe
from anitalker.media.writer import VideoWriter


@pytest.fixture
def place(tmp_path, example_portrait, make_wav):
    """v.mp4: half a second of the example portrait that moves over a wall; s.wav: as long; a table of four lines."""
    from PIL import Image

    portrait = np.asarray(Image.open(example_portrait).convert("RGB").resize((200, 200)))
    with VideoWriter(tmp_path / "v.mp4", 320, 220) as writer:
        for n in range(12):
            frame = np.full((220, 320, 3), 110, np.uint8)
            frame[10:210, 50 + n : 250 + n] = portrait
            writer.write(frame)
    make_wav(tmp_path / "s.wav", 0.2 * np.random.default_rng(0).standard_normal(7680))
    make_wav(tmp_path / "line.wav", 0.2 * np.random.default_rng(1).standard_normal(3200))
    (tmp_path / "lines.csv").write_text("start,end,speech\n0.1,0.3,line.wav\n")
    rows = "said,v.mp4,s.wav,,,\nlines,v.mp4,,lines.csv,,\nlooped,v.mp4,s.wav,,loop,0.2\n"
    (tmp_path / "jobs.csv").write_text("id,video,speech,segments,fit,to\n" + rows)
    return tmp_path


@pytest.mark.slow
def test_dubs_and_what_is_done_is_skipped(place, capsys):
    command = [
        "batch",
        str(place / "jobs.csv"),
        "-o",
        str(place / "out"),
        "--workers",
        "1",
        "--device",
        "cpu",
        "--json",
    ]
    assert main(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["done"], facts["failed"]) == (3, 0)
    for name in ("said", "lines", "looped"):
        media = probe(place / "out" / f"{name}.mp4")
        assert (media.video_codec, media.width, media.height) == ("h264", 320, 220)
        assert media.seconds == pytest.approx(0.48, abs=0.1)
    assert main(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["done"], facts["skipped"]) == (0, 3)
    (place / "line.wav").write_bytes((place / "s.wav").read_bytes())
    assert main(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["done"], facts["skipped"]) == (1, 2), "a recording of the lines has changed"


@pytest.mark.slow
def test_a_text(place, capsys):
    pytest.importorskip("espeakng_loader")
    (place / "jobs.csv").write_text("id,video,text,voice\ntold,v.mp4,Yes.,en\n")
    assert main(["batch", str(place / "jobs.csv"), "-o", str(place / "out"), "--device", "cpu"]) == 0
    assert probe(place / "out" / "told.mp4").audio_codec == "aac"
    assert not [file for file in (place / "out").iterdir() if file.suffix == ".wav"]
