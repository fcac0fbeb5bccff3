"""The ablation's table from made-up scores, and its plan: equal arms, nothing mixed, nothing done twice."""

import json

import pytest
import torch

from scripts import ablate
from scripts.training import arms
from scripts.training.presets import PRESETS


def scores(shift=0.0):
    clips = [20.0 + shift, 21.0 + shift, 23.0 + shift]
    told = {"mean": sum(clips) / 3, "interval": [min(clips), max(clips)], "clips": clips}
    other = {"mean": 0.5, "interval": [0.4, 0.6]}
    return {
        "psnr": told,
        "psnr_face": told,
        "copy": told,
        "copy_face": told,
        **{n: other for n in ("pose", "expression", "leak", "eer")},
    }


@pytest.fixture
def trained(monkeypatch):
    """Arms that train in no time and score by their place."""
    done = []

    def run(arguments, arm, folder, steps):
        folder.mkdir(parents=True, exist_ok=True)
        done.append((arm, steps))

    monkeypatch.setattr(ablate, "run_training", run)
    monkeypatch.setattr(arms, "steps_of", lambda folder: 10**6)
    from scripts.evaluation import ablation

    monkeypatch.setattr(ablation, "score_arm", lambda folder, cache, device: scores(-0.5 * (folder.name == "no-hal")))
    monkeypatch.setattr(ablation, "score_labels", lambda cache, size: {"leak": {"mean": 40.0, "interval": [30, 50]}})
    return done


def command(tmp_path, *more):
    out, table = str(tmp_path / "out"), str(tmp_path / "docs/ablation.md")
    return ["--data", "unused", "--out", out, "--table", table, "--arms", "all", "no-hal", "--device", "cpu", *more]


def test_every_arm_is_a_preset_that_differs_in_one_thing():
    whole = PRESETS["ablation-all"][0]
    for arm in ablate.ARMS:
        recipe = PRESETS[f"ablation-{arm}"][0]
        different = [name for name in vars(whole) if getattr(whole, name) != getattr(recipe, name)]
        assert len(different) == {"all": 0, "neither": 2, "autoencode": 3}.get(arm, 1), arm
        assert recipe.config().size == whole.size


def test_table_tells_intervals_and_paired_differences(tmp_path, trained):
    assert ablate.main(command(tmp_path, "--steps", "7")) == 0
    text = (tmp_path / "docs/ablation.md").read_text()
    assert "| HAL, AAM-softmax, mutual information | 21.33 [20.00, 23.00] |" in text
    assert "| last stage instead of HAL | -0.50 [-0.50, -0.50] * |" in text
    assert "copying the first frame" in text and "40.0 [30.0, 50.0]" in text
    report = json.loads((tmp_path / "docs/ablation.json").read_text())
    assert report["plan"]["steps"] == 7 and set(report["arms"]) == {"all", "no-hal"}


def test_done_arms_are_not_trained_again_and_other_settings_are_refused(tmp_path, trained, capsys):
    ablate.main(command(tmp_path, "--steps", "7"))
    assert trained == [("all", 7), ("no-hal", 7)]
    (tmp_path / "out/no-hal/scores.json").unlink()
    assert ablate.main(command(tmp_path)) == 0
    assert trained[2:] == [("no-hal", 7)]
    assert ablate.main(command(tmp_path, "--size", "32")) == 2
    assert "holds an ablation of other settings" in capsys.readouterr().err


def test_minutes_become_equal_steps(tmp_path, trained, monkeypatch):
    clock = iter(range(0, 1000, 6))  # 6 s pass between two looks: 0.2 s for each of the 30 steps of the trial
    monkeypatch.setattr(ablate.time, "monotonic", lambda: next(clock))
    ablate.main(command(tmp_path, "--minutes", "10"))
    assert {steps for arm, steps in trained[2:]} == {int(0.85 * 600 / 2 / 0.2)}


def test_a_stopped_arm_is_not_scored(tmp_path, trained, monkeypatch, capsys):
    monkeypatch.setattr(arms, "steps_of", lambda folder: 3)
    assert ablate.main(command(tmp_path, "--steps", "7")) == 130
    assert "stopped in arm all at step 3 of 7" in capsys.readouterr().out
    assert not (tmp_path / "out/all/scores.json").exists() and not (tmp_path / "docs/ablation.md").exists()


def test_losses_are_arms_of_their_own():
    """What is on and off: flow shown by landmarks, discriminator, terms about who it is; never the perceptual one."""
    told = {}
    for arm in ("all", "no-flow", "adversarial", "autoencode"):
        one = PRESETS[f"ablation-{arm}"][0]
        assert one.perceptual == one.cross == 0 < one.photometric
        told[arm] = (one.flow > 0, one.adversarial > 0, one.metric != "none" and one.identity > 0, one.mutual > 0)
    assert told == {
        "all": (True, False, True, True),
        "no-flow": (False, False, True, True),
        "adversarial": (True, True, True, True),
        "autoencode": (False, False, False, False),
    }


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["adversarial", "no-flow", "autoencode"])
def test_arms_of_losses_train_on_what_they_say(cache, tmp_path, arm, capsys):
    """Three steps: the networks that only some terms need are there or not, and what was learned is finite."""
    command = ["--data", "unused", "--cache", str(cache), "--out", str(tmp_path / "out"), "--device", "cpu"]
    more = ["--table", str(tmp_path / "table.md"), "--steps", "3", "--size", "32", "--batch", "2", "--arms", arm]
    assert ablate.main([*command, *more, "--threads", "1"]) == 0
    recipe = json.loads((tmp_path / "out" / arm / "config.json").read_text())["recipe"]
    assert recipe["adversarial_after"] == 1 and (recipe["flow"] > 0) == (arm == "adversarial")
    state = torch.load(tmp_path / "out" / arm / "checkpoint.pt", weights_only=True)
    helpers = {"adversarial": {"adversarial", "density"}, "no-flow": {"density"}, "autoencode": set()}[arm]
    assert set(state["helpers"]) == helpers
    assert all(one.isfinite().all() for one in state["average"].values() if one.is_floating_point())


@pytest.mark.slow
def test_an_arm_is_trained_and_scored(cache, tmp_path):
    command = ["--data", "unused", "--cache", str(cache), "--out", str(tmp_path / "out"), "--device", "cpu"]
    table = tmp_path / "table.md"
    more = ["--table", str(table), "--steps", "2", "--size", "32", "--batch", "2", "--arms", "all", "triplet"]
    assert ablate.main([*command, *more, "--threads", "1"]) == 0
    told = json.loads(table.with_suffix(".json").read_text())["arms"]["triplet"]["scores"]
    assert len(told["psnr"]["clips"]) == 2 and torch.tensor(told["psnr"]["clips"]).isfinite().all()
