"""The paper's ablation: arms that differ in one thing each, and rehearsals of them."""

import json

import pytest
import torch

from scripts import ablate
from scripts.ablations.stage_one import ARMS
from scripts.training.presets import PRESETS


def test_every_arm_is_a_preset_that_differs_in_one_thing():
    whole = PRESETS["ablation-all"][0]
    for arm in ARMS:
        recipe = PRESETS[f"ablation-{arm}"][0]
        different = [name for name in vars(whole) if getattr(whole, name) != getattr(recipe, name)]
        assert len(different) == {"all": 0, "neither": 2, "autoencode": 3}.get(arm, 1), arm
        assert recipe.config().size == whole.size


def test_losses_are_arms_of_their_own():
    """What is on and off: flow shown by landmarks, discriminator, terms about who it is; never the perceptual one."""
    terms = {}
    for arm in ("all", "no-flow", "adversarial", "autoencode"):
        recipe = PRESETS[f"ablation-{arm}"][0]
        assert recipe.perceptual == 0 < recipe.photometric
        metric = recipe.metric != "none" and recipe.identity > 0
        terms[arm] = (recipe.flow > 0, recipe.adversarial > 0, metric, recipe.mutual > 0)
    assert terms == {
        "all": (True, False, True, True),
        "no-flow": (False, False, True, True),
        "adversarial": (True, True, True, True),
        "autoencode": (False, False, False, False),
    }


def rehearse(cache, folder, steps, *arms):
    command = ["--data", "unused", "--cache", str(cache), "--out", str(folder / "out"), "--device", "cpu"]
    command += ["--table", str(folder / "table.md"), "--steps", steps, "--size", "32", "--batch", "2", "--threads", "1"]
    assert ablate.main([*command, "--arms", *arms]) == 0
    return json.loads((folder / "table.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["adversarial", "no-flow", "autoencode"])
def test_arms_of_losses_train_on_what_they_say(cache, tmp_path, arm):
    """Three steps: the networks that only some terms need are there or not, and what was learned is finite."""
    rehearse(cache, tmp_path, "3", arm)
    recipe = json.loads((tmp_path / "out" / arm / "config.json").read_text())["recipe"]
    assert recipe["adversarial_after"] == 1 and (recipe["flow"] > 0) == (arm == "adversarial")
    state = torch.load(tmp_path / "out" / arm / "checkpoint.pt", weights_only=True)
    helpers = {"adversarial": {"adversarial", "density"}, "no-flow": {"density"}, "autoencode": set()}[arm]
    assert set(state["helpers"]) & {"adversarial", "density"} == helpers
    assert all(tensor.isfinite().all() for tensor in state["average"].values() if tensor.is_floating_point())


@pytest.mark.slow
def test_an_arm_is_trained_and_scored(cache, tmp_path):
    report = rehearse(cache, tmp_path, "2", "all", "triplet")
    psnr = report["arms"]["triplet"]["scores"]["psnr"]["clips"]
    assert len(psnr) == 2 and torch.tensor(psnr).isfinite().all()
    assert set(report) == {"plan", "arms", "labels"}
