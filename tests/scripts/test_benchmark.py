"""The arithmetic of the benchmark, on made-up times and a reference that is not there."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scripts import benchmark
from scripts.benchmarks import ours, whole
from scripts.benchmarks import report as timing
from scripts.benchmarks.report import Report, by_turns, ratio


def times(*clock):
    return np.array([(value, 2 * value) for value in clock])


def test_ratios_are_taken_round_by_round():
    found = ratio(times(8.0, 9.0, 20.0), times(1.0, 3.0, 4.0))
    assert found["clock"] == {"median": 5.0, "least": 3.0, "most": 8.0} == found["cpu"]


def test_a_stopwatch_tells_waiting_from_working():
    seconds, results = by_turns({"nap": lambda: time.sleep(0.05) or 7}, 1)
    assert results == {"nap": 7}
    ((clock, processor),) = seconds["nap"]
    assert clock >= 0.05 > processor


def empty_report():
    return Report({"load": 1.0}, {"float32": {"product": 100.0, "convolution": 50.0}})


def test_rows_say_the_share_of_the_peak():
    report = empty_report()
    report.add("original", "frames", "float32", times(4.0), "per frame", 4, 30.0)
    row = report.facts["rows"][0]
    assert row["seconds"] == 1.0 and row["share_of_peak"] == pytest.approx(0.3)
    report.ratios["frames float32"] = ratio(times(8.0), times(4.0))
    report.facts["psnr"] = {"float32": {"median": 90.0, "worst": 80.0}}
    text = report.table()
    assert "| original | frames | float32 | 1.0000 |" in text and "30%" in text and "2.0 (2.0 to 2.0)" in text
    assert set(json.loads(json.dumps(report.facts))) == {"machine", "peaks", "rows", "ratios", "psnr"}


def test_the_reference_takes_turns_with_ours():
    order, report = [], empty_report()
    works = {"original": lambda: order.append("ours"), "reference": lambda: order.append("theirs")}
    report.compare("encode", "float32", 2, works, "per portrait")
    assert order == ["ours", "theirs"] * 2
    assert [(row["model"], row["stage"], row["format"]) for row in report.rows] == [
        ("original", "encode", "float32"),
        ("reference", "encode", "float32"),
    ]
    assert list(report.ratios) == ["encode float32"]
    assert report.time("lite", "load", "", 1, lambda: 7, "per model") == 7 and report.rows[-1]["model"] == "lite"


def test_psnr_of_known_errors():
    black, grey = np.zeros((256, 256, 3), np.uint8), np.full((256, 256, 3), 1, np.uint8)
    found = benchmark.psnr([grey, black], [black, black])
    assert found["worst"] == pytest.approx(20 * np.log10(255)) and found["median"] > found["worst"]


def test_flops_of_a_product():
    a = torch.zeros(10, 20)
    assert ours.flops(lambda: a @ a.T) == pytest.approx(2 * 10 * 20 * 10 / 1e9)


def test_a_wrong_reference_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "peaks", lambda device, side: {})
    monkeypatch.setattr(ours, "Original", lambda device: type("Small", (), {"encode": lambda self: None})())
    assert benchmark.main(["--models", "original", "--reference", str(tmp_path), "--quick"]) == 2
    assert "LIA_Model.py" in capsys.readouterr().err


def test_whole_jobs_take_turns(tmp_path, monkeypatch):
    """Each in a process of its own; the reference's seconds over ours of the same round."""
    order = []

    def run(command, **more):
        kind = command[3]
        order.append((kind, command[-1]))
        seconds = {"ours": 2.0, "reference": 10.0}[kind] * len(order)
        made = {"clock": seconds, "processor": 3 * seconds, "peak_mb": 100.0 * len(order)}
        return SimpleNamespace(returncode=0, stdout=f"a word of its own\n{json.dumps(made)}\n", stderr="")

    monkeypatch.setattr(whole.subprocess, "run", run)
    report = empty_report()
    whole.compare(tmp_path / "speech.wav", 5.0, 2, "checkout", report)
    turn = [("ours", "float32"), ("ours", "bfloat16"), ("reference", "checkout")]
    assert order == turn + turn
    assert report.ratios["whole job float32"]["clock"]["most"] == 10 * 3 / 2
    assert report.rows[0] == {
        "model": "original",
        "stage": "whole job, 5 s",
        "format": "float32",
        "unit": "per second",
        "seconds": (2 + 8) / 2 / 5,
        "cpu": 3 * (2 + 8) / 2 / 5,
        "peak_mb": 400.0,
    }


def test_a_whole_job_that_fails_is_told(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1, stdout="", stderr="first\nerror: no espnet\n")
    monkeypatch.setattr(whole.subprocess, "run", lambda *a, **k: failed)
    report = empty_report()
    whole.compare(tmp_path / "speech.wav", 5.0, 1, None, report)
    assert report.facts["not_run"] == "whole job of original float32: error: no espnet" and not report.rows


def test_made_up_frames_in_both_formats(original_networks):
    """The original's rows draw by `rendering.render`."""
    model = ours.Original.__new__(ours.Original)
    model.stage_one, model.denoiser = original_networks()
    model.device = torch.device("cpu")
    model.model = ours.OriginalModel(model.stage_one, model.denoiser)
    model.renderers = {}
    model.picture = torch.randn(1, 3, model.model.size, model.model.size)
    model.encode()
    exact, short = (np.stack(list(model.frames(ours.motion(3), form))) for form in ours.DTYPES)
    assert exact.shape == (3, 32, 32, 3)
    assert np.abs(exact.astype(int) - short).max() > 0


def test_motion_is_compared_in_usual_steps_and_step_for_step(monkeypatch):
    """A step of ours takes 2, of the reference 10: 10 steps for its 50 are 25 times as fast, step for step 5."""
    clock = [0.0]

    def work(seconds):
        clock[0] += seconds

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])
    model = SimpleNamespace(move=lambda frames, steps: work(2.0 * steps))
    theirs = SimpleNamespace(move=lambda frames, steps: work(10.0 * steps))
    report = empty_report()
    benchmark.measure_motion(report, model, theirs, 4.0, 4)
    assert [row["seconds"] for row in report.rows] == pytest.approx([5.0, 25.0, 125.0])  # a second of speech
    usual, equal = report.ratios.values()
    assert usual["clock"]["median"] == pytest.approx(25.0) and equal["clock"]["median"] == pytest.approx(5.0)
    benchmark.measure_motion(report, model, None, 300.0, 4)
    assert len(report.rows) == 5 and len(report.ratios) == 2
