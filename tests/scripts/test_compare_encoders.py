"""The comparison of encoders: arms that differ in the encoder alone, a table with every stage, and a rehearsal."""

import json

import pytest
import torch

from anitalker.config import InputError
from scripts import compare_encoders
from scripts.train_motion_space import parse
from scripts.training import arms
from scripts.training.presets import motion_space_config, resolve


def score(value):
    return {"mean": value, "interval": [value - 0.1, value + 0.1], "clips": [value, value + 0.05, value - 0.05]}


def made_up(value):
    read = {name: score(0.5) for name in ("pose", "lips", "eyes")}
    stages = [{"stride": stride, "weight": 0.5, **read} for stride in (4, 256)]
    return {"landmark": score(value), **read, "stages": stages, "milliseconds": 3.0, "parameters": 1.5}


@pytest.mark.parametrize("arm", compare_encoders.ARMS)
def test_arms_differ_in_the_encoder_alone(arm):
    common = ["--stage", "codes", "--data", "d", "--out", "o"]
    _, plain = parse(common)
    _, recipe = parse([*common, *compare_encoders.flags_of(arm, "hrnet_w18_small")])
    different = {name for name in vars(plain) if getattr(plain, name) != getattr(recipe, name)}
    assert different <= {"encoder", "head", "hal"}
    config = motion_space_config(recipe).encoder
    assert (config.family, config.head, config.hal) == (recipe.encoder, recipe.head, recipe.hal)


def test_a_head_belongs_to_an_hrnet():
    with pytest.raises(InputError, match="head is 'v2', but resnet has none"):
        motion_space_config(resolve("lite-256", "codes", {"encoder": "resnet", "head": "v2"}))


def test_table_tells_stages_and_a_verdict(tmp_path, monkeypatch):
    from scripts.evaluation import encoders

    monkeypatch.setattr(compare_encoders, "run_training", lambda arguments, arm, folder: folder.mkdir(parents=True))
    monkeypatch.setattr(arms, "steps_of", lambda folder: 7)
    monkeypatch.setattr(encoders, "score_encoder", lambda folder, cache: made_up(2.0 if folder.name == "lia" else 2.5))
    table = tmp_path / "encoders.md"
    command = ["--data", "unused", "--out", str(tmp_path / "out"), "--table", str(table), "--arms", "lia", "lia-last"]
    assert compare_encoders.main([*command, "--steps", "7"]) == 0
    text = table.read_text(encoding="utf-8")
    assert (
        "| lia, HAL | 2.00 [1.90, 2.10] | 0.500 [0.400, 0.600] |" in text
        and "| lia, last stage | 256 | 0.500 |" in text
    )
    assert "* HAL against the last stage, lia: -0.50 [-0.50, -0.50], a difference." in text
    assert json.loads(table.with_suffix(".json").read_text())["plan"]["steps"] == 7
    assert compare_encoders.main([*command, "--steps", "7"]) == 0  # nothing is made twice: the folder would be there


def test_a_stopped_arm_is_not_scored(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare_encoders, "run_training", lambda arguments, arm, folder: folder.mkdir(parents=True))
    monkeypatch.setattr(arms, "steps_of", lambda folder: 3)
    command = ["--data", "unused", "--out", str(tmp_path / "out"), "--table", str(tmp_path / "t.md"), "--steps", "7"]
    assert compare_encoders.main(command) == 130
    assert "stopped in arm lia at step 3 of 7" in capsys.readouterr().out and not (tmp_path / "t.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["hrnet-v2p", "resnet"])
def test_an_arm_is_trained_and_scored(cache, tmp_path, arm):
    table = tmp_path / "table.md"
    command = ["--data", "unused", "--cache", str(cache), "--out", str(tmp_path / "out"), "--table", str(table)]
    command += ["--arms", arm, "--steps", "1", "--batch", "2", "--threads", "1", "--device", "cpu"]
    assert compare_encoders.main(command) == 0
    scores = json.loads(table.with_suffix(".json").read_text())["arms"][arm]["scores"]
    assert torch.tensor(scores["landmark"]["clips"]).isfinite().all() and len(scores["stages"]) == 5
