"""A trusted time (RFC 3161): asked of an authority, a stand-in on this machine whose answers OpenSSL makes."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from anitalker.cli import main
from anitalker.config import InputError
from anitalker.provenance.credentials import Generator, read_credentials
from anitalker.provenance.identity import signing_identity
from anitalker.provenance.law import checklist
from anitalker.provenance.marks import write_picture
from anitalker.provenance.verify import summary_lines, verify


def make(path):
    write_picture(path, np.full((64, 64, 3), 90, np.uint8), False, Generator("lite"))
    return path


def test_the_time_is_stamped(authority, tmp_path, monkeypatch):
    monkeypatch.setenv("ANITALKER_TIMESTAMP", authority)
    verdict = verify(make(tmp_path / "still.png"))
    assert verdict["state"] == "intact"
    stamped = datetime.fromisoformat(verdict["credentials"]["stamped"])
    assert abs(stamped - datetime.now(timezone.utc)) < timedelta(minutes=10)
    assert "stamped by an authority" in "\n".join(summary_lines(verdict))
    row = next(row for row in checklist("eu", verdict) if "time stamp" in row["asks"])
    assert row["state"] == "has" and "bytes" in row["read_from"]


def test_nobody_is_asked_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("ANITALKER_TIMESTAMP", raising=False)
    assert read_credentials(make(tmp_path / "still.png")).stamped is None


def test_an_authority_that_is_not_there(tmp_path, monkeypatch):
    """One line, and no file without the time that was asked for."""
    monkeypatch.setenv("ANITALKER_TIMESTAMP", "http://127.0.0.1:9/")
    with pytest.raises(InputError, match=r"time-stamping authority .* does not answer"):
        make(tmp_path / "still.png")
    assert not list(tmp_path.iterdir())


def test_what_is_no_address(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANITALKER_TIMESTAMP", "")
    with pytest.raises(InputError, match="timestamp is 'ftp://x'"):
        monkeypatch.setenv("ANITALKER_TIMESTAMP", "ftp://x")
        signing_identity()
    picture, speech = tmp_path / "none.png", tmp_path / "none.wav"
    command = ["render", str(picture), str(speech), "-o", str(tmp_path / "o.mp4"), "--timestamp", "nothing"]
    assert main(command) == 2
    assert "timestamp is 'nothing'" in capsys.readouterr().err
