"""anitalker bench: a table for people, the same as JSON for programs, whose keys stay."""

import json

import pytest

from anitalker import benchmark
from anitalker.cli import main
from anitalker.runtime.machine import MachineFacts


@pytest.fixture
def bench(monkeypatch, fixed_finder, untrained_model):
    """Arguments of a quick benchmark."""
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    for name, value in {"SIZES": (64, 96), "JOB_SECONDS": 0.4, "MAX_GROWTH": 1}.items():
        monkeypatch.setattr(benchmark, name, value)
    return ["bench", "--model", str(untrained_model), "--device", "cpu", "--seconds", "600"]


@pytest.mark.slow
def test_json(bench, capsys):
    assert main([*bench, "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert set(facts) == set(benchmark.BenchFacts.__annotations__)
    assert set(facts["machine"]) == set(MachineFacts.__annotations__)
    assert set(facts["job"]) == set(benchmark.JobFacts.__annotations__)
    assert [row["size"] for row in facts["drawing"]] == [64, 96]
    for row in facts["drawing"]:
        assert set(row) == set(benchmark.DrawingFacts.__annotations__)
        assert row["frames_per_second"] > 0 and row["frames"] >= 2
    assert facts["model"] == "untrained" and facts["number_format"] in ("float32", "bfloat16")
    assert facts["machine"]["device"] == "cpu" and facts["machine"]["processor"] and facts["machine"]["threads"] >= 1
    assert facts["job"]["speech_seconds"] == 0.4 and facts["job"]["real_time_factor"] > 0
    assert facts["peak_gpu_mb"] is None and facts["load_seconds"] > 0 and facts["first_frame_seconds"] > 0
    assert err.splitlines()[-1] == "whole job 4/4"


@pytest.mark.slow
def test_table(bench, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "MIN_JOB_SECONDS", 1e9)
    assert main(bench) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line[:16].strip() for line in lines]
    assert names[:5] == ["anitalker", "device", "processor", "cores", "versions"]
    assert "frames/s" in lines[names.index("64 pixels")]
    assert lines[names.index("whole job")][16:] == "not measured: no time was left"


def test_a_budget_that_is_refused(bench, capsys):
    assert main([*bench, "--seconds", "1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: seconds is 1; allowed is 5 to 600"
