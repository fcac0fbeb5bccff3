"""The ledger: opt-in, written by what makes files, resolved for files without their metadata."""

import contextlib
import hashlib
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from anitalker.cli import main
from anitalker.config import InputError
from anitalker.media.images import read_picture
from anitalker.provenance.credentials import Generator
from anitalker.provenance.ledger import Ledger, chosen_ledger, look_up
from anitalker.provenance.marks import write_picture

IDENTIFIER = "0123456789abcdef"


def test_nothing_is_recorded_unless_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("ANITALKER_LEDGER", raising=False)
    assert chosen_ledger() is None and not list(tmp_path.iterdir())


def test_entries(tmp_path):
    file, path = tmp_path / "a.mp4", tmp_path / "ledger.sqlite"
    file.write_bytes(b"video")
    entry = Ledger(path).record(IDENTIFIER, "lite", 7, file)
    assert look_up(path, IDENTIFIER) == entry and look_up(path, "f" * 16) is None and look_up(path, None) is None
    assert (entry.model, entry.seed, entry.sha256) == ("lite", 7, hashlib.sha256(b"video").hexdigest())
    assert entry.made.endswith("Z")


def test_workers_that_write_at_once(tmp_path):
    file, path = tmp_path / "a.mp4", tmp_path / "ledger.sqlite"
    file.write_bytes(b"video")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: Ledger(path).record(f"{n:016x}", "lite", n, file), range(24)))
    assert [look_up(path, f"{n:016x}").seed for n in range(24)] == list(range(24))


def test_what_is_no_ledger(tmp_path):
    (tmp_path / "text").write_text("no database, but a text that is long enough to be read as a header" * 9)
    for path in (tmp_path / "text", tmp_path / "no folder" / "ledger"):
        with pytest.raises(InputError, match="ledger cannot be written"):
            Ledger(path)
    with pytest.raises(InputError, match="ledger is missing"):
        look_up(tmp_path / "nothing", IDENTIFIER)
    with contextlib.closing(sqlite3.connect(tmp_path / "empty")) as database:
        database.execute("CREATE TABLE other (a)")
    with pytest.raises(InputError, match="ledger cannot be read"):
        look_up(tmp_path / "empty", IDENTIFIER)


def test_a_stripped_picture_is_resolved(tmp_path, monkeypatch, example_portrait, capsys):
    """Without credentials and metadata: from the pixels."""
    path, file, stripped = tmp_path / "ledger.sqlite", tmp_path / "still.png", tmp_path / "stripped.jpg"
    monkeypatch.setenv("ANITALKER_LEDGER", str(path))
    write_picture(file, read_picture(example_portrait), False, Generator("lite", seed=3))
    with Image.open(file) as picture:
        picture.convert("RGB").save(stripped, quality=90)
    assert main(["verify", str(stripped), "--json", "--ledger", str(path)]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["identifiers"]["pixels"] == verdict["identifier"] == verdict["ledger"]["identifier"]
    assert verdict["identifiers"]["credentials"] is None and verdict["identifiers"]["metadata"] is None
    assert (verdict["ledger"]["seed"], verdict["ledger"]["same_file"]) == (3, False)
    assert main(["verify", str(file)]) == 0, "the variable is the default"
    assert "seed 3; this very file" in capsys.readouterr().out


@pytest.mark.slow
def test_renders_are_recorded(talker, example_portrait, clicks, tmp_path, monkeypatch):
    from anitalker.config import RenderOptions

    monkeypatch.setenv("ANITALKER_LEDGER", str(tmp_path / "ledger.sqlite"))
    facts = talker.render(example_portrait, clicks, tmp_path / "out.mp4", RenderOptions(steps=1, frame="crop", seed=5))
    entry = look_up(tmp_path / "ledger.sqlite", facts["identifier"])
    assert (entry.seed, entry.model) == (5, facts["model"])
    assert entry.sha256 == hashlib.sha256((tmp_path / "out.mp4").read_bytes()).hexdigest()
