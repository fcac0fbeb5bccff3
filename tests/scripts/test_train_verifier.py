"""The verifier's training on made-up faces: one run to a file that loads."""

import numpy as np
import pytest
import torch

from scripts import train_verifier
from scripts.evaluation.verifier import Verifier
from scripts.training.data import FrameCache


def options(folder, *more):
    paths = ["--data", folder, "--cache", folder / "cache", "--out", folder / "run", "--steps", 2, "--batch", 4]
    return [str(word) for word in (*paths, *more)]


def test_a_run_ends_in_a_file_that_judges(photo_folder, capsys):
    train_verifier.main(options(photo_folder, "--file", photo_folder / "v.safetensors", "--dtype", "float32"))
    assert "3 people" in capsys.readouterr().out  # the one with two photographs is kept out
    train_verifier.main(
        options(photo_folder, "--steps", 3, "--dtype", "float32")
    )  # continues, from the crops of the first time
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    judge = Verifier(photo_folder / "v.safetensors")
    rates = judge.config["equal_error"]
    assert {"val_clips", "two_photographs"} <= set(rates) and "val_clips_other_recording" not in rates
    assert 0 <= rates["val_clips"]["equal_error_rate"] <= 1 and rates["val_clips"]["people"] == 2
    cache = FrameCache(photo_folder / "cache", "val")
    made = judge(cache.frames[:3], cache.landmarks[:3])
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


def test_contrast_of_known_embeddings():
    apart = torch.eye(8)
    assert train_verifier.contrast(apart, apart) < 0.01
    assert train_verifier.contrast(apart, apart.roll(1, 0)) > 9
    assert train_verifier.contrast(torch.ones(8, 1), torch.ones(8, 1)).item() == pytest.approx(np.log(15), rel=1e-4)
