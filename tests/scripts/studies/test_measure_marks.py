"""Marks measured on renders of a small model: they are found after an attack, and files that have none are counted."""

import json

import numpy as np
import pytest

from scripts import study
from scripts.studies import measure_marks


@pytest.fixture
def data(tmp_path, talker, monkeypatch, make_wav):
    """A folder with one voice, and one still of a face that the fake finder finds."""
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech/a.flac").touch()
    speech = np.random.default_rng(0).normal(0, 0.1, 3200).astype(np.float32)
    still = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    monkeypatch.setattr(measure_marks, "load", lambda *_: talker)
    monkeypatch.setattr(measure_marks, "read_audio", lambda path: speech)
    monkeypatch.setattr(measure_marks, "load_stills", lambda data, splits: iter([({}, still, None)]))
    monkeypatch.setattr(measure_marks, "load_clips", lambda data, splits: iter([]))
    kept = {name: measure_marks.ATTACKS[name] for name in ("as made", "CRF 28")}
    monkeypatch.setattr(measure_marks, "ATTACKS", kept)
    return tmp_path


@pytest.mark.slow
def test_outputs_are_attacked_and_verified(data, capsys):
    assert study.main(["measure_marks", "--data", str(data), "--outputs", "1", "--real", "0"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["outputs"] == 1 and 30 < report["psnr_min"] <= report["psnr_mean"]
    assert report["attacks"]["as made"]["credentials_intact"] == 1
    assert report["attacks"]["CRF 28"]["files"] == 1 and report["attacks"]["CRF 28"]["credentials_intact"] == 0


def test_files_without_marks_are_counted(data, tmp_path, monkeypatch):
    monkeypatch.setattr(measure_marks, "verify", lambda path: {"watermark": {"found": False, "score": 0.1}})
    clips = [type("Stored", (), {"mp4": b"a", "row": {"generated": "no"}}) for _ in range(7)]
    monkeypatch.setattr(measure_marks, "load_clips", lambda data, splits: iter(clips))
    report = measure_marks.real("x", 2, tmp_path, measure_marks.Results(tmp_path / "results"))
    assert report["clips"] == {"files": 2, "false_alarms": 0, "highest_score": 0.1}
    assert report["stills"]["files"] == 1
