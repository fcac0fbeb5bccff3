"""anitalker sample: a video with the marks and facts of a render; one line for what cannot be sampled."""

import json

import numpy as np
import pytest
import torch

from anitalker.cli import main
from anitalker.media.video import probe
from anitalker.models.base import FaceCheck
from anitalker.models.lite import Lite
from anitalker.motion.motion_files import read_motion_file, write_motion_file
from anitalker.motion.prior import MotionPrior
from anitalker.network_config import MotionPriorConfig


@pytest.fixture
def sample(monkeypatch, fixed_finder, example_portrait, untrained_model, tmp_path):
    """Arguments of a quick sample to tmp_path/out.mp4; the untrained model has an untrained prior."""
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    torch.manual_seed(0)
    prior = MotionPrior(MotionPriorConfig(steps=1, layers=1, hidden=8, bins=4, code_size=16, directions=2)).eval()
    prior.motion_std.fill_(0.05)
    prior.limits.fill_(1e9)
    monkeypatch.setattr(Lite, "prior", prior)
    monkeypatch.setattr(Lite, "check_face", lambda *_: FaceCheck())
    out = ["-o", str(tmp_path / "out.mp4"), "--model", str(untrained_model), "--device", "cpu", "--frame", "crop"]
    return ["sample", str(example_portrait), *out, "--seconds", "0.4"]


@pytest.fixture
def motion_file(tmp_path):
    path = tmp_path / "codes.safetensors"
    write_motion_file(
        path, np.random.default_rng(0).normal(0, 0.05, (3, 20)).astype(np.float32), np.ones(64, np.float32)
    )
    return path


@pytest.mark.slow
def test_idle_keeps_the_contract_of_render(sample, capsys, tmp_path):
    assert main([*sample, "--json", "--seed", "3"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["frames"] == 10 and facts["seconds"] == 0.4 and facts["seed"] == 3 and facts["model"]
    assert {"output", "fps", "width", "height", "timings", "real_time_factor", "peak_rss_mb"} < set(facts)
    media = probe(tmp_path / "out.mp4")
    assert media.video_codec == "h264" and media.audio_codec is None and media.comment.startswith("Synthetic media")
    assert main(["verify", str(tmp_path / "out.mp4"), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["made_by"] == "anitalker" and verdict["state"] == "intact"


@pytest.mark.slow
def test_between_a_picture_and_a_frame_of_a_file(sample, capsys, example_portrait, motion_file):
    ends = ["--between", str(example_portrait), f"{motion_file}:2"]
    assert main([*sample, *ends]) == 0
    assert "10 frames" in capsys.readouterr().out
    assert main([*sample, *ends, "--linear"]) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seconds", "nan"], "seconds is nan; allowed is 0.04 to 600"),
        (["--seconds", "0.01"], "seconds is 0.01; allowed is 0.04 to 600"),
        (["--temperature", "2"], "temperature is 2.0; allowed is 0 (still) to 1.5"),
        (["--lips", "3"], "lips is 3.0; allowed is 0 to 2"),
        (["--linear"], "--linear came without --between"),
        (["--between", "none.png", "none.png"], "none.png"),
        (["--between", "{codes}:3", "{codes}"], "has no frame 3; its frames are 0 to 2"),
        (["--between", "{short}", "{codes}"], "has no motion [T,20]; make one with `anitalker encode`"),
        (["--between", "{nan}", "{codes}"], "has NaN or infinity in frame 1; make it again"),
        (["--between", "{other}", "{codes}"], "has no motion [T,20]"),
    ],
)
def test_refused_in_one_line(sample, capsys, tmp_path, motion_file, flags, words):
    wrong = read_motion_file(motion_file)
    wrong[1, 4] = np.nan
    write_motion_file(tmp_path / "nan.safetensors", wrong, np.ones(64, np.float32))
    write_motion_file(tmp_path / "short.safetensors", wrong[:0], np.ones(64, np.float32))
    (tmp_path / "other.safetensors").write_text("no tensors")
    named = {name: tmp_path / f"{name}.safetensors" for name in ("codes", "nan", "short", "other")}
    before = {path.name for path in tmp_path.iterdir()}
    assert main([*sample, *(flag.format(**named) for flag in flags)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ") and words in lines[-1]
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_a_model_without_a_prior_says_so(sample, capsys, monkeypatch, motion_file):
    monkeypatch.setattr(Lite, "prior", None)
    assert main(sample) == 2
    assert "has no motion prior to draw from; take --model lite" in capsys.readouterr().err
    assert main([*sample, "--linear", "--between", str(motion_file), f"{motion_file}:1"]) == 0
