"""The plan of an ablation: equal arms, nothing mixed, nothing done twice; the same for every study."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from scripts import ablate

ARMS = {"stage-one": ("all", "no-hal"), "decoders": ("shipped", "wide"), "encoders": ("lia", "lia-last")}


@pytest.fixture
def trained(monkeypatch):
    """Arms that train in no time, and the scores of nothing: (study, arm, steps) as they are asked for."""
    asked = []

    def run(study, options, arm, folder, steps):
        folder.mkdir(parents=True, exist_ok=True)
        asked.append((options.study, arm, steps))

    monkeypatch.setattr(ablate, "run_training", run)
    monkeypatch.setattr(ablate, "steps_of", lambda folder: 10**6)
    monkeypatch.setattr(ablate, "page", lambda study, command, report: f"{command}\n")
    for name, study in ablate.STUDIES.items():
        kept = replace(study, score=lambda folder, options: {}, baselines=lambda options: {"labels": {}})
        monkeypatch.setitem(ablate.STUDIES, name, kept)
    return asked


def command(tmp_path, study, *more):
    out, table = str(tmp_path / "out"), str(tmp_path / "docs/table.md")
    chosen = ["--study", study] if study != "stage-one" else []
    return [*chosen, "--data", "x", "--out", out, "--table", table, "--arms", *ARMS[study], "--device", "cpu", *more]


@pytest.mark.parametrize(
    ("study", "shared"),
    [
        ("stage-one", {"batch": 16, "seed": 0, "size": 64, "device": "cpu"}),
        ("decoders", {"batch": 8, "seed": 0}),
        ("encoders", {"batch": 8, "seed": 0, "hrnet": "hrnet_w18"}),
    ],
)
def test_done_arms_are_not_trained_again_and_other_settings_are_refused(tmp_path, trained, capsys, study, shared):
    assert ablate.main(command(tmp_path, study, "--steps", "7")) == 0
    assert trained == [(study, arm, 7) for arm in ARMS[study]]
    report = json.loads((tmp_path / "docs/table.json").read_text())
    assert report["plan"] == {"steps": 7, **shared}
    assert list(report["arms"]) == list(ARMS[study])
    assert all(set(stored) == {"plan", "scores", "minutes"} for stored in report["arms"].values())
    assert (tmp_path / "docs/table.md").read_text() == f"python -m scripts.ablate --study {study}\n"
    (tmp_path / "out" / ARMS[study][1] / "scores.json").unlink()
    assert ablate.main(command(tmp_path, study)) == 0
    assert trained[2:] == [(study, ARMS[study][1], 7)]
    for other in (("--seed", "1"), ("--steps", "8")):
        assert ablate.main(command(tmp_path, study, *other)) == 2
        assert "holds an ablation of other settings" in capsys.readouterr().err


def test_minutes_become_equal_steps(tmp_path, trained, monkeypatch):
    clock = iter(range(0, 1000, 6))  # 6 s pass between two looks: 0.2 s for each of the 30 steps of the trial
    monkeypatch.setattr(ablate, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    ablate.main(command(tmp_path, "stage-one", "--minutes", "10"))
    assert {steps for _, _, steps in trained[2:]} == {int(0.85 * 600 / 2 / 0.2)}
    assert not (tmp_path / "out/calibration").exists()


@pytest.mark.parametrize(("study", "steps"), [("decoders", 200), ("encoders", 1500)])
def test_comparisons_have_steps_of_their_own(tmp_path, trained, study, steps):
    assert ablate.main(command(tmp_path, study)) == 0
    assert trained == [(study, arm, steps) for arm in ARMS[study]]


def test_a_stopped_arm_is_not_scored(tmp_path, trained, monkeypatch, capsys):
    monkeypatch.setattr(ablate, "steps_of", lambda folder: 3)
    assert ablate.main(command(tmp_path, "stage-one", "--steps", "7")) == 130
    assert "stopped in arm all at step 3 of 7" in capsys.readouterr().out
    assert not (tmp_path / "out/all/scores.json").exists() and not (tmp_path / "docs/table.md").exists()


def test_an_arm_belongs_to_its_study(capsys):
    with pytest.raises(SystemExit):
        ablate.parse(["--data", "x", "--study", "encoders", "--arms", "lia", "no-hal"])
    assert "'no-hal' is no arm of encoders; it has lia, lia-last" in capsys.readouterr().err


@pytest.mark.parametrize("study", ARMS)
def test_arms_reach_the_training_with_what_all_share(tmp_path, monkeypatch, study):
    commands = []
    monkeypatch.setattr(ablate.train_motion_space, "main", lambda flags: commands.append(flags) or 0)
    options = ablate.parse(command(tmp_path, study, "--features", "none", "--hrnet", "hrnet_w32"))
    for arm in ablate.STUDIES[study].arms:
        ablate.run_training(ablate.STUDIES[study], options, arm, tmp_path / arm, 30)
    for flags in commands:
        parsed, recipe = ablate.train_motion_space.parse(flags)
        assert (recipe.steps, parsed.seed, recipe.batch) == (30, 0, options.batch) and recipe.score == 31
    assert any("hrnet_w32" in flags for flags in commands) == (study == "encoders")


def test_a_training_that_fails_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablate.train_motion_space, "main", lambda flags: 2)
    assert ablate.main(command(tmp_path, "stage-one", "--steps", "7")) == 2
    assert "arm all could not be trained" in capsys.readouterr().err
