"""Marks of GIF, WebP and PNG: what a video of the model carries in each format, read by `verify` and by Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from anitalker.config import RenderOptions
from anitalker.media.formats import sequence_files
from anitalker.media.video import read_frames
from anitalker.media.writer import VideoWriter
from anitalker.provenance.aigc import parse_comment, parse_xmp, xmp_packet
from anitalker.provenance.ledger import look_up
from anitalker.provenance.picture_metadata import add_metadata, read_gif_xmp
from anitalker.provenance.verify import verify


@pytest.fixture
def animate(talker, tmp_path, root):
    """Write a second of the example portrait; returns the facts and the file, or the first one of a sequence."""

    def write(name, **options):
        portrait = talker.portrait(root / "app/examples/portrait.webp")
        motion = portrait.faces[0].motion + torch.linspace(0, 0.05, 12)[:, None]
        facts = talker.animate(portrait, [motion], tmp_path / name, RenderOptions(**options))
        return facts, sequence_files(tmp_path / name)[0] if "%" in name else tmp_path / name

    return write


def silent(identifier):
    """Where the identifier of a video without sound stands."""
    return {"pixels": identifier, "sound": None, "credentials": identifier, "metadata": identifier}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.gif", "out.webp", "out-%d.png", "out.mov"])
def test_all_marks(animate, name):
    facts, file = animate(name)
    verdict = verify(file)
    assert verdict["state"] == "intact" and verdict["made_by"] == "anitalker"
    assert verdict["identifiers"] == silent(facts["identifier"])
    assert verdict["watermark"]["found"] and verdict["comment"].startswith("Synthetic media")
    assert verdict["aigc"]["ProduceID"] == facts["identifier"]


@pytest.mark.slow
def test_webm_has_no_credentials_and_says_so(animate, caplog):
    """It is not taken for an altered file: it never had them."""
    facts, file = animate("out.webm")
    assert "WebM carries no content credentials" in caplog.text
    verdict = verify(file)
    assert (verdict["state"], verdict["made_by"], verdict["credentials"]["status"]) == ("unknown", "anitalker", "none")
    assert verdict["identifiers"] == silent(facts["identifier"]) | {"credentials": None}


@pytest.mark.slow
def test_changed_pixels_of_a_gif_are_noticed(animate):
    _, file = animate("out.gif")
    data = bytearray(file.read_bytes())
    data[-200] ^= 1
    file.write_bytes(data)
    assert verify(file)["state"] == "altered"


@pytest.mark.slow
def test_each_picture_of_a_sequence_is_signed(animate, tmp_path, monkeypatch):
    """With the same identifier; the ledger has the hash of the first."""
    monkeypatch.setenv("ANITALKER_LEDGER", str(tmp_path / "ledger.sqlite"))
    facts, first = animate("out-%02d.png")
    verdicts = [verify(file) for file in sequence_files(tmp_path / "out-%02d.png")]
    assert len(verdicts) == 12 and {verdict["state"] for verdict in verdicts} == {"intact"}
    assert {verdict["identifier"] for verdict in verdicts} == {facts["identifier"]}
    assert verify(first, tmp_path / "ledger.sqlite")["ledger"]["same_file"]
    assert look_up(tmp_path / "ledger.sqlite", facts["identifier"]).model == facts["model"]


@pytest.mark.slow
def test_marks_of_what_is_posted(animate, tmp_path):
    """Upright, with texts in the picture and the icon: the watermark spans all of it, and the credentials tell."""
    (tmp_path / "texts.srt").write_text("1\n00:00:00,000 --> 00:00:09,000\nHello\n")
    options = {"aspect": "9:16", "subtitles": str(tmp_path / "texts.srt"), "label": True, "label_style": "icon"}
    facts, file = animate("out.mp4", **options, label_seconds=0.2)
    assert (facts["width"], facts["height"]) == (512, 912)
    verdict = verify(file)
    assert verdict["state"] == "intact" and verdict["identifiers"] == silent(facts["identifier"])
    assert verdict["credentials"]["origin"]["visible_label"] == "icon for 0.2 s"
    frames = [frame.astype(int) for frame in read_frames(file)]
    corner = [frame[15:85, -120:-16].mean() for frame in frames]
    assert max(corner[:5]) < min(corner[5:]) - 10  # darkened for five frames
    assert all((frame[780:880] > 220).all(2).sum() > 300 for frame in frames)  # the text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out.webm", "out-%d.png"])
def test_a_file_without_marks_says_so(animate, name):
    verdict = verify(animate(name, marks=False, frame="crop")[1])
    assert verdict["comment"].endswith("whose user left out credentials and watermark")
    assert verdict["credentials"]["status"] == "none" and not verdict["watermark"]["found"]
    assert verdict["state"] == "unknown" and verdict["aigc"]["Label"] == "1"


def test_facts_and_warnings(animate, caplog):
    facts, _ = animate("out.gif", marks=False, frame="crop")
    assert (facts["codec"], facts["frames"], facts["width"]) == ("gif", 12, 256)
    assert "no marks" in caplog.text


@pytest.mark.parametrize("suffix", ["png", "gif", "webp"])
@pytest.mark.parametrize("frames", [1, 3])
def test_what_is_added(tmp_path, suffix, frames):
    """Pixels stay, Pillow reads comment and XMP; a single picture, too."""
    file = tmp_path / (f"a%d.{suffix}" if suffix == "png" else f"a.{suffix}")
    with VideoWriter(file, 70, 66) as writer:
        for number in range(frames):
            writer.write(np.full((66, 70, 3), 50 + number, np.uint8))
    file = tmp_path / "a1.png" if suffix == "png" else file
    with Image.open(file) as picture:
        before, count = np.asarray(picture.convert("RGB")), getattr(picture, "n_frames", 1)
    add_metadata(file, "a comment", xmp_packet("0123456789abcdef", "a comment"))
    with Image.open(file) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), before)
        assert getattr(picture, "n_frames", 1) == count
        info = picture.info
    packet = read_gif_xmp(file) if suffix == "gif" else info.get("XML:com.adobe.xmp", info.get("xmp"))
    assert parse_xmp(packet)["ProduceID"] == "0123456789abcdef" and parse_comment(packet) == "a comment"
    assert suffix == "webp" or info.get("Comment", info.get("comment")) in ("a comment", b"a comment")


def test_xmp_without_a_comment():
    assert parse_comment(xmp_packet("0123456789abcdef")) is None and parse_comment(None) is None
    assert parse_comment(xmp_packet("0123456789abcdef", "<&>")) == "<&>"
