"""Training of the motion generator on made-up clips: short runs, resuming, what is written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from anitalker.config import POSE_SIZE, InputError
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.windows import SamplingParams
from anitalker.network_config import GeneratorConfig, from_dict
from encoders.speech import SpeechFeatures
from scripts import train_generator
from scripts.training.generator_start import begin_at
from scripts.training.loop import Run
from scripts.training.motion_data import MotionExamples, load_motion, measure
from scripts.training.sync import shift_late_sound


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


@pytest.mark.slow
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
    speaker = train_generator.Speaker(network, SpeechFeatures(), space)
    scores = train_generator.validate(speaker, load_motion(motion_folder, "val"), SamplingParams(steps=1), 1)
    assert set(scores) == {"correlation", "spread"} and all(np.isfinite(list(scores.values())))


def test_spellings_of_before_are_understood(motion_folder):
    old = ["--features", "x", "--run", "y", "--rate", "0.5", "--validate-every", "7"]
    options = train_generator.parse(old)
    assert (options.features_dir, options.out, options.lr, options.score) == ("x", "y", 0.5, 7)


@pytest.mark.slow
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


def test_it_learns_to_hear_phones_beginning_at_a_network_that_did_not(small, phonetic_run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    settings = [*small, "--sync-at", "0", "--score", "0", "--steps", "2"]
    train_generator.main([*settings, "--out", str(first)])
    begun = begin_at(str(first), 323 + phonetic_run.size)
    old = load_file(first / "weights.safetensors")["generator.speech.into.weight"]
    assert torch.equal(begun.speech.into.weight[:, :323], old) and begun.speech.into.weight[:, 323:].abs().max() == 0
    train_generator.main(
        [*settings, "--out", str(second), "--start", str(first), "--phonetic", str(phonetic_run.folder)]
    )
    after = load_file(second / "weights.safetensors")
    assert after["generator.speech.into.weight"][:, 323:].abs().max() > 0
    kept = load_file(phonetic_run.folder / "weights.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in kept.items())
    with pytest.raises(InputError, match="323"):
        begin_at(str(second), 323)


@pytest.fixture
def clips(motion_folder):
    return load_motion(motion_folder, "train")


def test_controls_are_given_or_not_and_still_is_still():
    torch.manual_seed(0)
    motion, controls, given = train_generator.draw_controls(torch.randn(200, 12, 20))
    share = given[:, 0].mean(0)
    assert ((share > 0.15) & (share < 0.5)).all()
    still = (motion[..., :POSE_SIZE] == 0).all(-1).all(-1)
    assert 5 < still.sum() < 45 and given[still].min() == 1 and controls[still].abs().max() == 0


def test_loss_of_predicting_nothing_is_of_order_one_and_bad_frames_do_not_count(motion_folder, clips):
    loss = train_generator.MotionLoss(measure(motion_folder, clips))
    clean, good = torch.randn(8, 60, 20), torch.ones(8, 60)
    place = loss(torch.zeros_like(clean), clean, good)["place"]
    assert 2 < place < 4  # three terms
    good[:, 30:] = 0
    broken = clean.clone()
    broken[:, 30:] = 99
    assert all(term == 0 for term in loss(clean, broken, good).values())


@pytest.mark.slow
def test_loss_falls_on_one_batch(motion_folder, clips):
    torch.manual_seed(0)
    space = measure(motion_folder, clips)
    statistics = {"motion_mean": tuple(space.mean), "motion_std": tuple(space.std)}
    network = MotionGenerator(GeneratorConfig(width=32, layers=1, heads=2, dropout=0.0, **statistics))
    objective = train_generator.GeneratorObjective(network, train_generator.MotionLoss(space))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    batch = MotionExamples(clips, SpeechFeatures(), space.spoken).batch(8, 25, 20, 0) | {"frames": 20}
    totals = []
    for step in range(40):
        total = objective(batch, step)[0]["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert np.isfinite(totals).all() and np.mean(totals[-5:]) < 0.75 * np.mean(totals[:5])


def test_sound_that_fits_nowhere_teaches_no_speech(clips):
    clip = replace(clips[0])
    shift_late_sound({"one": (1.0, 0.1)}, [clip])
    assert clip.unrelated and not clip.speaks and len(clip.codes) == 160
