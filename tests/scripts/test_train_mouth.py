"""Training of the mouth synthesiser: it runs, resumes and becomes a part of a model."""

import pytest
import torch
from safetensors.torch import load_file

from anitalker.models.loading import load_model
from scripts import export, train_mouth


@pytest.fixture
def train(cache, labels, perceptual_network, monkeypatch, tmp_path):
    """train(*options): exit status of a training on the decoded clips, in tmp_path/run."""
    labels.save(cache / "labels-lite.npz")
    tensors = {"motion_space.canonical": labels.canonical, "motion_space.directions": labels.directions}
    monkeypatch.setattr(train_mouth.loading, "read", lambda name: ({}, tensors))
    folders = ["--data", "none", "--cache", str(cache), "--out", str(tmp_path / "run")]
    return lambda *options: train_mouth.main([*folders, "--perceptual-network", perceptual_network, *options])


@pytest.mark.slow
def test_training_resumes_and_its_run_becomes_a_part_of_a_model(train, untrained_model, tmp_path, capsys):
    options = ("--batch", "2", "--adversarial-after", "1", "--log-every", "1")
    assert train("--steps", "3", *options) == 0
    assert "hinge" in capsys.readouterr().out
    first = load_file(tmp_path / "run" / "weights.safetensors")
    assert train("--steps", "4", *options) == 0
    assert "resumed at step 3 of 4" in capsys.readouterr().out
    after = load_file(tmp_path / "run" / "weights.safetensors")
    assert any(not torch.equal(first[key], after[key]) for key in after)
    model = tmp_path / "with-mouth.safetensors"
    export.export([untrained_model, tmp_path / "run" / "weights.safetensors"], "model", model)
    assert load_model(untrained_model).mouth is None and load_model(model).mouth is not None
