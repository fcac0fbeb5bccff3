"""The records of a card's measurements, and the script that makes them, with stand-ins for what it runs."""

import json
import os
import stat
import subprocess
import sys

import pytest

from scripts.benchmarks import card, card_drawing


@pytest.fixture
def file(tmp_path):
    return tmp_path / "out/gpu.json"


def run(file, *arguments):
    return card.main([*arguments, "--json", str(file)])


def test_rows_are_written_one_by_one(file, capsys):
    results = card.Results(file)
    results.add("drawing", {"model": "lite", "frames_per_second": 12.345, "share_of_peak": 0.5, "peak_gpu_mb": None})
    assert json.loads(file.read_text())["drawing"][0]["frames_per_second"] == 12.345
    card.Results(file).add("drawing", {"model": "original size", "reason": "out of memory"})
    assert [row["model"] for row in card.Results(file).facts["drawing"]] == ["lite", "original size"]
    assert "frames_per_second 12.3, share_of_peak 50.0%" in capsys.readouterr().out
    assert run(file, "record", "--name", "drawing", "--seconds", "7") == 0
    assert run(file, "table") == 0
    text = capsys.readouterr().out
    assert "| lite | 12.3 | 50.0% |  |  |" in text and "| original size |  |  |  | out of memory |" in text
    assert "| drawing | done | 7 |  |" in text


@pytest.mark.parametrize(
    ("status", "word", "exit_status"),
    [(0, "done", 0), (3, "skipped", 0), (1, "failed", 1), (124, "out of time", 1), (137, "out of time", 1)],
)
def test_how_a_part_ended(file, tmp_path, status, word, exit_status):
    log = tmp_path / "jobs.log"
    log.write_text("a line\nthe package zuko is missing\n\n")
    assert run(file, "record", "--name", "jobs", "--status", str(status), "--seconds", "2", "--log", str(log)) == 0
    reason = None if status == 0 else "the package zuko is missing"
    assert card.Results(file).facts["parts"] == {"jobs": {"status": word, "seconds": 2.0, "reason": reason}}
    assert run(file, "table") == exit_status


def test_nothing_at_all_is_a_failure(file):
    assert run(file, "table") == 1


def test_a_missing_package_is_named_and_rows_of_before_are_forgotten(file, monkeypatch, capsys):
    def missing(results, device, tiny):
        assert (device, tiny) == ("cpu", True) and "parity" not in results.facts
        raise ModuleNotFoundError("No module named 'zuko'", name="zuko")

    monkeypatch.setattr(card_drawing, "measure_parity", missing)
    card.Results(file).save("parity", [{"model": "of before"}])
    assert run(file, "parity", "--device", "cpu", "--tiny") == card.SKIPPED
    assert capsys.readouterr().err == "the package zuko is missing\n"


def test_a_device_that_is_not_there(file, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run(file, "drawing") == 2
    assert "device 'cuda' is not usable on this machine" in capsys.readouterr().err


def test_every_part_exists():
    import importlib

    for name, module in card.MODULES.items():
        assert callable(getattr(importlib.import_module(f"scripts.benchmarks.{module}"), f"measure_{name}"))


@pytest.fixture
def interpreter(tmp_path):
    """A python whose parts only say that they ran: drawing fails, graphs hangs, jobs lacks a package."""
    path = tmp_path / "python"
    path.write_text(
        f"""#!/usr/bin/env bash
case "$*" in
  *"card record"*|*"card table"*|-) exec {sys.executable} "$@" ;;
  *"card drawing"*) echo broken; exit 1 ;;
  *"card graphs"*) exec sleep 60 ;;
  *"card jobs"*) echo "the package zuko is missing"; exit 3 ;;
  *) echo "$*" ;;
esac
"""
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.slow
def test_the_script_goes_on_after_a_failure(root, tmp_path, interpreter):
    copy = tmp_path / "scripts/gpu_check.sh"
    copy.parent.mkdir()
    copy.write_text((root / "scripts/gpu_check.sh").read_text().replace("measure graphs 90", "measure graphs 1"))
    environment = os.environ | {"PYTHON": str(interpreter), "OUT": str(tmp_path / "out"), "PYTHONPATH": str(root)}
    done = subprocess.run(["bash", str(copy)], env=environment, capture_output=True, text=True)
    parts = json.loads((tmp_path / "out/gpu.json").read_text())["parts"]
    assert {name: end["status"] for name, end in parts.items()} == {
        "machine": "done",
        "drawing": "failed",
        "parity": "done",
        "graphs": "out of time",
        "tests": "done",
        "jobs": "skipped",
        "stages": "done",
    }
    assert parts["drawing"]["reason"] == "broken" and done.returncode == 1
    assert "--device cuda" in done.stdout and "| jobs | skipped |" in done.stdout


def test_the_script_refuses_other_arguments(root):
    done = subprocess.run(["bash", str(root / "scripts/gpu_check.sh"), "--fast"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "error: argument is '--fast'; allowed is --dry-run\n"
