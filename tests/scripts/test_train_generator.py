"""Training of the motion generator on made-up clips: short runs, resuming, what is written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from anitalker.config import GeneratorConfig, from_dict
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.windows import SamplingParams
from encoders.speech import SpeechFeatures
from scripts import train_generator
from scripts.training.generator_scores import Speaker, validate
from scripts.training.loop import Run
from scripts.training.motion_data import load_motion
from scripts.training.motion_statistics import measure


@pytest.fixture
def small(motion_folder):
    """Options of a narrow network and few windows."""
    return [
        "--features-dir",
        str(motion_folder),
        "--batch",
        "2",
        "--width",
        "16",
        "--layers",
        "1",
        "--dtype",
        "float32",
    ]


def test_a_run_is_resumed_and_its_weights_are_complete(small, motion_folder, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert train_generator.main([*small, *out, "--steps", "2", "--score", "2", "--accumulate", "2"]) == 0
    assert "val correlation" in capsys.readouterr().out
    train_generator.main([*small, *out, "--steps", "3", "--score", "0"])
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    path = tmp_path / "run" / "weights.safetensors"
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    network = MotionGenerator(from_dict(GeneratorConfig, config["generator"]))
    network.load_state_dict({name.removeprefix("generator."): value for name, value in load_file(path).items()})
    assert network.spoken.abs().sum() > 0 and config["speech"]["n_mels"] == 80
    space = measure(motion_folder, load_motion(motion_folder, "train"))
    speaker = Speaker(network, SpeechFeatures(), space)
    scores = validate(speaker, load_motion(motion_folder, "val"), SamplingParams(steps=1), 1)
    assert set(scores) == {"correlation", "spread", "shuffled", "silence"} and all(np.isfinite(list(scores.values())))


def test_spellings_of_before_are_understood(motion_folder):
    old = ["--features", "x", "--run", "y", "--rate", "0.5", "--validate-every", "7"]
    options = train_generator.parse(old)
    assert (options.features_dir, options.out, options.lr, options.score) == ("x", "y", 0.5, 7)


def test_killed_run_ends_where_an_unbroken_one_does(small, tmp_path, monkeypatch):
    """A resumed run draws what the unbroken one would, before and after sound is shifted: the same weights."""
    settings = [*small, "--score", "0", "--steps", "5", "--sync-at", "3"]
    train_generator.main([*settings, "--out", str(tmp_path / "whole")])

    class Killed(Exception):
        pass

    def kill(run):
        save(run)
        if run.step == 2:
            raise Killed

    save = Run.save
    broken = [*settings, "--out", str(tmp_path / "broken")]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", kill)
        patch.setattr(train_generator, "RECIPE", replace(train_generator.RECIPE, save_every=0))
        with pytest.raises(Killed):
            train_generator.main(broken)
    assert torch.load(tmp_path / "broken/checkpoint.pt", weights_only=True)["step"] == 2
    train_generator.main(broken)
    whole, again = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "broken"))
    assert all(torch.allclose(tensor, again[name], atol=1e-6) for name, tensor in whole.items())
    assert (tmp_path / "whole/sync.json").read_text() == (tmp_path / "broken/sync.json").read_text()


def test_the_lips_are_trained_beside_a_network_that_stays_as_it_is(small, tmp_path):
    settings = [*small, "--width", "32", "--sync-at", "0", "--score", "0", "--steps", "2"]
    first, lips = tmp_path / "first", tmp_path / "lips"
    train_generator.main([*settings, "--out", str(first)])
    train_generator.main([*settings, "--out", str(lips), "--start", str(first), "--only-lips"])
    before, after = (load_file(folder / "weights.safetensors") for folder in (first, lips))
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    learned = {name for name in after if name not in before}
    assert learned == {name for name in after if name.startswith("generator.lips.")} != set()
    with pytest.raises(SystemExit):
        train_generator.main([*settings, "--out", str(tmp_path / "none"), "--only-lips"])
