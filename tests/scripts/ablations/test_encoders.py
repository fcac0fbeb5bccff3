"""The comparison of encoders: arms that differ in the encoder alone, and a rehearsal."""

import json

import pytest
import torch

from anitalker.config import InputError
from scripts import ablate
from scripts.ablations import encoders
from scripts.train_motion_space import parse
from scripts.training.presets import motion_space_config, resolve


@pytest.mark.parametrize("arm", encoders.ARMS)
def test_arms_differ_in_the_encoder_alone(arm):
    common = ["--stage", "codes", "--data", "d", "--out", "o"]
    flags = [flag.replace(encoders.HRNET, "hrnet_w18_small") for flag in encoders.ARMS[arm][1]]
    _, plain = parse(common)
    _, recipe = parse([*common, *flags])
    different = {name for name in vars(plain) if getattr(plain, name) != getattr(recipe, name)}
    assert different <= {"encoder", "head", "hal"}
    config = motion_space_config(recipe).encoder
    assert (config.family, config.head, config.hal) == (recipe.encoder, recipe.head, recipe.hal)


def test_a_head_belongs_to_an_hrnet():
    with pytest.raises(InputError, match="head is 'v2', but resnet has none"):
        motion_space_config(resolve("lite-256", "codes", {"encoder": "resnet", "head": "v2"}))


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["hrnet-v2p", "resnet"])
def test_an_arm_is_trained_and_scored(cache, tmp_path, arm):
    table = tmp_path / "table.md"
    command = ["--study", "encoders", "--data", "unused", "--cache", str(cache), "--hrnet", "hrnet_w18_small"]
    command += ["--out", str(tmp_path / "out"), "--table", str(table)]
    command += ["--arms", arm, "--steps", "1", "--batch", "2", "--threads", "1", "--device", "cpu"]
    assert ablate.main(command) == 0
    report = json.loads(table.with_suffix(".json").read_text())
    scores = report["arms"][arm]["scores"]
    assert report["plan"] == {"steps": 1, "batch": 2, "seed": 0, "hrnet": "hrnet_w18_small"}
    assert torch.tensor(scores["landmark"]["clips"]).isfinite().all() and len(scores["stages"]) == 5
