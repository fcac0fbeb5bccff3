"""What a run of pytest says, and jobs where NVENC is missing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker.media import encoder as encoding
from scripts.benchmarks import card_jobs
from scripts.benchmarks.card import Results


@pytest.mark.parametrize(
    ("returncode", "output", "expected"),
    [
        (0, "..\n2 passed, 3 deselected in 1.0s\n", ("done", "2 passed, 3 deselected in 1.0s")),
        (1, "F\n1 failed in 1.0s\n", ("failed", "1 failed in 1.0s")),
        (
            4,
            "E   ModuleNotFoundError: No module named 'zuko.flows'\n",
            ("skipped", "the package zuko.flows is missing"),
        ),
        (1, "/usr/bin/python3: No module named pytest\n", ("skipped", "the package pytest is missing")),
        (-11, "", ("failed", "")),
    ],
)
def test_how_pytest_ended(returncode, output, expected):
    assert card_jobs.pytest_status(returncode, output) == expected


@pytest.mark.parametrize(("nvenc", "encoders"), [(False, ["NVENC", "x264"]), (True, ["x264", "NVENC"])])
def test_jobs_by_encoder(monkeypatch, tmp_path, nvenc, encoders):
    chosen = []

    def render(portrait, speech, output, options):
        chosen.append(encoding.encoder_arguments("cuda", lambda _: (1, ""))[1])
        return {"seconds": 1.0, "timings": {"frames": 0.5}}

    lite = SimpleNamespace(device=torch.device("cpu"), portrait=None, take=lambda picture: None)
    lite.talker = SimpleNamespace(render=render)
    monkeypatch.setattr(card_jobs.ours, "Lite", lambda device: lite)
    monkeypatch.setattr(card_jobs.ours, "speech", lambda seconds: np.zeros(16_000, np.float32))
    listing = " V....D h264_nvenc  NVIDIA NVENC H.264 encoder" if nvenc else ""
    monkeypatch.setattr(card_jobs, "run_ffmpeg", lambda arguments: (0, listing))
    results = Results(tmp_path / "gpu.json")
    card_jobs.measure_jobs(results, "cpu", True)
    rows = results.facts["jobs"]
    assert list(dict.fromkeys(row["encoder"] for row in rows)) == encoders
    assert ("reason" in rows[0]) != nvenc and {row["size"] for row in rows if "size" in row} == {256, 1080}
    assert chosen == (["libx264", "h264_nvenc"] if nvenc else ["libx264"]) * 2
