"""The comparison of decoders: arms that can be, and a rehearsal."""

import json

import pytest

from anitalker.config import POSE_SIZE
from scripts import ablate
from scripts.ablations import decoders
from scripts.train_motion_space import parse
from scripts.training.presets import decoder_config, motion_space_config


@pytest.mark.parametrize("arm", decoders.ARMS)
def test_an_arm_has_networks_of_its_own(arm):
    _, recipe = parse(["--data", "d", "--out", "o", *decoders.ARMS[arm][1]])
    if recipe.stage == "pixels":
        assert recipe.config().size == 128
        return
    space = motion_space_config(recipe)
    config = decoder_config(recipe, space)
    assert config.motion_size == space.motion_size == POSE_SIZE + 14
    plain = arm in ("shipped", "learning")
    assert ((config.channels, config.block) == ((24, 48, 96, 128), 2)) == plain


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["learning", "pyramid-quarter"])
def test_an_arm_is_trained_and_scored(cache, tmp_path, arm):
    table = tmp_path / "table.md"
    command = ["--study", "decoders", "--data", "unused", "--features", "none", "--cache", str(cache)]
    command += ["--out", str(tmp_path / "out"), "--table", str(table)]
    command += ["--arms", arm, "--steps", "1", "--batch", "2", "--threads", "1", "--device", "cpu"]
    assert ablate.main(command) == 0
    scores = json.loads(table.with_suffix(".json").read_text())["arms"][arm]["scores"]
    assert scores["model"]["whole"]["clips"] and ("warp" in scores) == (arm == "learning")
    assert scores["milliseconds"] > 0 and scores["parameters"] > 0.1
