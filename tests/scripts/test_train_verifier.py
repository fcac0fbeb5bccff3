"""The verifier's training on made-up faces: one run to a file that loads."""

import numpy as np
import pytest
import torch

from anitalker.faces.verifier import SIDE
from scripts import train_verifier
from scripts.evaluation.identity_network import IdentityNetwork
from scripts.training.data import FrameCache


@pytest.mark.slow
def test_a_run_ends_in_a_file_that_judges(cache, tmp_path, capsys):
    options = ["--data", "unused", "--cache", str(cache), "--out", str(tmp_path / "run"), "--batch", "4"]
    file = tmp_path / "verifier.safetensors"
    assert train_verifier.main([*options, "--steps", "2", "--file", str(file), "--dtype", "float32"]) == 0
    assert train_verifier.main([*options, "--steps", "3", "--dtype", "float32"]) == 0
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    judge, frames = IdentityNetwork(file), FrameCache(cache, "val")
    rates = judge.config["equal_error"]
    assert 0 <= rates["val_clips"]["equal_error_rate"] <= 1 and rates["val_clips"]["people"] == 2
    embeddings = judge(frames.frames[:3], frames.landmarks[:3])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_contrast_of_known_embeddings():
    apart, people = torch.eye(8), torch.arange(8).repeat(2)
    assert train_verifier.contrast(apart.repeat(2, 1), people) < 0.01
    assert train_verifier.contrast(torch.cat([apart, apart.roll(1, 0)]), people) > 9
    assert train_verifier.contrast(torch.ones(16, 1), people).item() == pytest.approx(np.log(15), rel=1e-4)
    assert train_verifier.contrast(torch.ones(16, 1), people % 4).item() == pytest.approx(np.log(15), rel=1e-4)


def test_augmented_crops_lose_a_patch_of_the_mask():
    torch.manual_seed(0)
    crops = torch.cat([torch.rand(8, 3, SIDE, SIDE) * 2 - 1, torch.ones(8, 1, SIDE, SIDE)], 1)
    changed = train_verifier.augment(crops.clone())
    assert changed.shape == crops.shape and changed.isfinite().all()
    assert (changed[:, :3] - crops[:, :3]).abs().mean() > 0.1
    hidden = (changed[:, 3] == 0).flatten(1).float().mean(1)
    assert ((hidden == 0) | (hidden > 0.05)).all() and (hidden > 0).any()


def test_frames_of_a_person_are_spread_evenly(cache, monkeypatch):
    monkeypatch.setattr(train_verifier, "FRAMES_PER_PERSON", 3)
    assert train_verifier.spread_frames(FrameCache(cache, "val")).tolist() == [0, 2, 3, 4, 6, 7]
