"""The study trains each arm once, scores it on val, and goes on where it was stopped."""

import pytest

from scripts import study, train_generator
from scripts.studies import lip_features


@pytest.mark.slow
def test_arms_are_trained_once_and_stand_in_a_table(motion_folder, phonetic_run, tmp_path, capsys, monkeypatch):
    start = tmp_path / "generator"
    shared = ["--features-dir", str(motion_folder), "--batch", "2"]
    options = ["--width", "32", "--layers", "1", "--steps", "2", "--dtype", "float32", "--score", "0", "--sync-at", "0"]
    train_generator.main([*shared, *options, "--out", str(start)])
    monkeypatch.setattr(lip_features, "FIRST_SHARDS", ("nothing begins so",))
    command = ["lip_features", *shared, "--start", str(start), "--phonetic", str(phonetic_run.folder)]
    command += ["--out", str(tmp_path / "arms"), "--steps", "3", "--seeds", "1"]
    assert study.main(command) == 0
    printed = capsys.readouterr().out
    last = printed[printed.rindex("| hears") :].strip().splitlines()
    assert len(last) == 6 and last[2].startswith("| log-mel | first |") and "phones | all |" in last[5]
    assert study.main(command) == 0
    again = capsys.readouterr().out
    assert "/3 " not in again, "it trained again"
    assert again[again.rindex("| hears") :].strip().splitlines() == last
