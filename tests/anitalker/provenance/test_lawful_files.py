"""Files as the commands make them, against the checklists of three laws: nothing is lacking, C2PA's reader agrees."""

import json

import c2pa
import pytest

from anitalker.cli import main
from anitalker.media.images import read_picture
from anitalker.provenance.credentials import Generator
from anitalker.provenance.law import LAWS, checklist
from anitalker.provenance.marks import write_picture
from anitalker.provenance.verify import verify

TEXT = "This text is spoken by a machine. It takes more than five seconds, so that its identifier can be read."
FLAGS = ["--label", "--label-language", "zh", "--device", "cpu"]
TYPES = {".mp4": "video/mp4", ".gif": "image/gif", ".png": "image/png"}
STATES = ("lacks", "optional", "explained")
SPOKEN = ("say.mp4", "dub.mp4")  # their sound is synthetic, or in place of what was said


def make(output, root, portrait, speech):
    """Make a file as its name says."""
    if output.suffix == ".png":
        write_picture(output, read_picture(portrait), True, Generator("lite"), "zh")
        return
    inputs = {
        "render": ["render", portrait, speech],
        "say": ["say", portrait, TEXT],
        "dub": ["dub", root / "app/examples/driving.mp4", root / "app/examples/speech.flac"],
    }[output.stem]
    assert main([*map(str, inputs), "-o", str(output), *FLAGS]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["render.mp4", "say.mp4", "dub.mp4", "render.gif", "still.png"])
def test_nothing_is_lacking(name, authority, root, example_portrait, clicks, tmp_path, monkeypatch):
    ledger = tmp_path / "made.sqlite"
    monkeypatch.setenv("ANITALKER_TIMESTAMP", authority)
    monkeypatch.setenv("ANITALKER_LEDGER", str(ledger))
    monkeypatch.setenv("ANITALKER_PRODUCER", "Example service")
    output = tmp_path / name
    make(output, root, example_portrait, clicks)
    verdict = verify(output, ledger)
    rows = {law: checklist(law, verdict) for law in LAWS}
    states = {state: [row["asks"] for law in LAWS for row in rows[law] if row["state"] == state] for state in STATES}
    assert states["lacks"] == []
    assert states["optional"] == ([] if name in SPOKEN else ["an inaudible mark of a synthetic voice"])
    assert set(states["explained"]) == {
        "ContentPropagator, PropagateID",
        "licences that keep (b)",
        "hosts offer only systems that do this",
    }
    assert verdict["state"] == "intact" and verdict["ledger"] is not None and verdict["ledger"]["same_file"]
    places = ("pixels", "credentials", "metadata", *(["sound"] if name in SPOKEN else []))
    assert {verdict["identifiers"][place] for place in places} == {verdict["identifier"]}
    with open(output, "rb") as stream:
        told = json.loads(c2pa.Reader.try_create(TYPES[output.suffix], stream).json())
    assert told["validation_state"] == "Valid"
    active = told["manifests"][told["active_manifest"]]
    binding = next(entry["data"] for entry in active["assertions"] if entry["label"].startswith("c2pa.soft-binding"))
    assert binding["alg"] == "org.anitalker.watermark.3" and verdict["identifier"] in json.dumps(binding)
