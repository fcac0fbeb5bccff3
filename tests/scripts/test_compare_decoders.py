"""The comparison of decoders: arms that can be, a table with differences, and a rehearsal."""

import json

import pytest

from anitalker.config import POSE_SIZE
from scripts import compare_decoders
from scripts.evaluation import variants
from scripts.train_motion_space import parse
from scripts.training import arms
from scripts.training.presets import decoder_config, motion_space_config

COMMON = ["--data", "unused", "--features", "none"]


def told(value):
    return {"mean": value, "interval": [value - 0.1, value + 0.1], "clips": [value, value + 0.05, value - 0.05]}


def made_up(value, warp):
    scores = {name: told(value) for name in ("whole", "face", "mouth", "eyes")}
    both = {"model": scores, "warp": {"whole": told(1.5)}} if warp else {"model": scores}
    return {**both, "size": 256, "milliseconds": 31.4, "parameters": 1.25}


@pytest.mark.parametrize("arm", compare_decoders.ARMS)
def test_an_arm_has_networks_of_its_own(arm):
    arguments, recipe = parse(["--data", "d", "--out", "o", *compare_decoders.ARMS[arm][1]])
    if recipe.stage == "pixels":
        assert recipe.config().size == 128
        return
    space = motion_space_config(recipe)
    config = decoder_config(recipe, space)
    assert config.motion_size == space.motion_size == POSE_SIZE + 14 + recipe.learned
    assert not (recipe.learned and arguments.frozen)
    plain = arm in ("shipped", "learning", "learned-4")
    assert ((config.channels, config.block) == ((24, 48, 96, 128), 2)) == plain


def test_the_table_tells_differences(tmp_path, monkeypatch):
    values = {"shipped": 2.0, "wide": 2.5, "pyramid-half": -3.0}
    monkeypatch.setattr(compare_decoders, "run_training", lambda arguments, arm, folder, _: folder.mkdir(parents=True))
    monkeypatch.setattr(arms, "steps_of", lambda folder: 7)
    score = lambda folder, cache, features: made_up(values[folder.name], folder.name != "pyramid-half")  # noqa: E731
    monkeypatch.setattr(variants, "score_variant", score)
    table = tmp_path / "decoders.md"
    command = [*COMMON, "--out", str(tmp_path / "out"), "--table", str(table), "--arms", *values, "--steps", "7"]
    assert compare_decoders.main(command) == 0
    text = table.read_text(encoding="utf-8")
    assert "| 32 to 192 channels | 2.50 [2.40, 2.60] |" in text and "| the landmark warp alone | 1.50" in text
    assert "* 32 to 192 channels: +0.500 [+0.500, +0.500] *; +0.500" in text
    assert json.loads(table.with_suffix(".json").read_text())["arms"]["wide"]["scores"]["milliseconds"] == 31.4
    assert compare_decoders.main(command) == 0  # nothing is made twice: the folders would be there


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["learned-4", "pyramid-quarter"])
def test_an_arm_is_trained_and_scored(cache, tmp_path, arm):
    table = tmp_path / "table.md"
    command = [*COMMON, "--cache", str(cache), "--out", str(tmp_path / "out"), "--table", str(table)]
    command += ["--arms", arm, "--steps", "1", "--batch", "2", "--threads", "1", "--device", "cpu"]
    assert compare_decoders.main(command) == 0
    scores = json.loads(table.with_suffix(".json").read_text())["arms"][arm]["scores"]
    assert scores["model"]["whole"]["clips"] and ("warp" in scores) == (arm == "learned-4")
    assert scores["milliseconds"] > 0 and scores["parameters"] > 0.1
