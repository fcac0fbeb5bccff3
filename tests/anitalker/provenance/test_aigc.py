"""The metadata that China's standard asks for, written and read."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from anitalker.media.video import ffmpeg, probe
from anitalker.media.writer import VideoWriter
from anitalker.provenance.aigc import FIELDS, aigc_json, parse_aigc, parse_xmp, xmp_packet
from anitalker.provenance.credentials import Generator
from anitalker.provenance.marks import metadata_tags, signing_step, write_picture
from anitalker.provenance.verify import verify

IDENTIFIER = "0123456789abcdef"


def test_the_fields_of_the_standard(monkeypatch):
    fields = json.loads(aigc_json(IDENTIFIER))
    names = "Label ContentProducer ProduceID ReservedCode1 ContentPropagator PropagateID ReservedCode2"
    assert list(fields) == names.split()
    assert (fields["Label"], fields["ContentProducer"], fields["ProduceID"]) == ("1", "AniTalker", IDENTIFIER)
    monkeypatch.setenv("ANITALKER_PRODUCER", "某某公司")
    assert parse_aigc(aigc_json(IDENTIFIER))["ContentProducer"] == "某某公司"


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '{"a": 1}', "true"])
def test_what_is_no_value(text):
    assert parse_aigc(text) is None and parse_xmp(text) is None


def test_in_a_video(tmp_path):
    """In moov/udta/meta, as the guides of TC260 show; comment and credentials stay readable beside it."""
    file = tmp_path / "out.mp4"
    generator = Generator("lite", identifier=IDENTIFIER)
    with VideoWriter(file, 64, 64, finish=signing_step(generator), tags=metadata_tags(IDENTIFIER)) as writer:
        for _ in range(3):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"udta") < data.index(b"AIGC") < data.index(aigc_json(IDENTIFIER).encode())
    assert parse_aigc(probe(file).aigc) == dict(
        zip(FIELDS, ["1", "AniTalker", IDENTIFIER, "", "", "", ""], strict=True)
    )
    verdict = verify(file)
    assert verdict["state"] == "intact" and verdict["comment"].startswith("Synthetic media")
    assert verdict["identifier"] == IDENTIFIER and verdict["aigc"]["ProduceID"] == IDENTIFIER
    assert verdict["identifiers"] == {"pixels": None, "sound": None, "credentials": IDENTIFIER, "metadata": IDENTIFIER}


def test_copied_streams_keep_it(tmp_path):
    file, copy = tmp_path / "out.mp4", tmp_path / "copy.mov"
    with VideoWriter(file, 64, 64, tags=metadata_tags(IDENTIFIER)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    copying = ["-c", "copy", "-movflags", "use_metadata_tags", str(copy)]
    subprocess.run([ffmpeg(), "-v", "error", "-i", str(file), *copying], check=True)
    assert parse_aigc(probe(copy).aigc)["ProduceID"] == IDENTIFIER


def test_in_a_picture(tmp_path):
    """As XMP, beside the digital source type, and signed."""
    file = tmp_path / "still.png"
    write_picture(file, np.full((64, 64, 3), 90, np.uint8), False, Generator("lite", identifier=IDENTIFIER))
    with Image.open(file) as picture:
        packet = picture.info["XML:com.adobe.xmp"]
    assert parse_xmp(packet)["ProduceID"] == IDENTIFIER
    assert "/trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>" in packet
    verdict = verify(file)
    assert verdict["state"] == "intact" and verdict["aigc"]["ProduceID"] == IDENTIFIER


def test_xmp_of_others():
    """The key may be an attribute; entities are refused."""
    other = xmp_packet(IDENTIFIER).replace("<x:xmpmeta", "<!DOCTYPE a [<!ENTITY b 'c'>]><x:xmpmeta")
    assert parse_xmp(xmp_packet(IDENTIFIER).encode())["ProduceID"] == IDENTIFIER
    assert parse_xmp(other) is None and parse_xmp("<x:xmpmeta></x:xmpmeta>") is None
    attribute = (
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><d xmlns:T='http://www.tc260.org.cn/ns/AIGC/1.0/' "
        "T:AIGC='{&quot;Label&quot;: &quot;2&quot;}'/></x:xmpmeta>"
    )
    assert parse_xmp(attribute)["Label"] == "2"
