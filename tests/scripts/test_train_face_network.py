"""The face network's recipes on a made-up cache: train, resume, export, load."""

import json

import numpy as np
import pytest
import torch

from anitalker.config import LandmarkConfig
from anitalker.faces.face_network import crop_frame, to_crop
from anitalker.models.loading import load_face
from scripts import export, train_face_network


@pytest.fixture
def cache(tmp_path, people):
    """A cache folder of four stills per split."""
    frames, landmarks = people
    for split in ("train", "val"):
        folder = tmp_path / "cache" / split
        folder.mkdir(parents=True)
        np.save(folder / "frames.npy", frames.numpy())
        counts = {"clip": np.full(4, -1), "frame": np.zeros(4, int), "identity": np.arange(4), "good": np.ones(4, bool)}
        np.savez(folder / "index.npz", landmarks=landmarks.numpy(), **counts)
        (folder / "rows.json").write_text("[]")
    return tmp_path / "cache"


def test_the_shape_starts_from_principal_directions(people):
    mean, directions = train_face_network.shape_basis(people[1], 3)
    upright = to_crop(people[1], *crop_frame(people[1])) - torch.tensor([0.5, 0.5, 0.0])
    assert torch.allclose(mean, upright.mean(0), atol=1e-5)
    spread = directions.flatten(1)
    assert torch.allclose(spread @ spread.T, torch.diag((spread**2).sum(-1)), atol=1e-6)


def test_recipe_trains_resumes_exports_and_loads(cache, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_face_network, "LandmarkConfig", small_config)
    for part, steps, batch in (("landmarks", 2, 4), ("detector", 1, 2), ("landmarks", 3, 4)):
        size = ["--steps", str(steps), "--batch", str(batch)]
        train_face_network.main(["--part", part, "--cache", str(cache), "--out", str(tmp_path / part), *size])
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    file = tmp_path / "face.safetensors"
    export.main([str(tmp_path / "detector"), str(tmp_path / "landmarks"), "--kind", "face", "-o", str(file)])
    network = load_face(file)
    assert network.landmarks.config.coefficients == 3
    with torch.no_grad():
        assert network.landmarks(torch.zeros(1, 3, 64, 64)).isfinite().all()


def small_config() -> LandmarkConfig:
    return LandmarkConfig(size=64, channels=(8, 8, 16), blocks=1, neck=8, coefficients=3, part_size=8)


def test_ridge_is_written_and_scored(cache, tmp_path, capsys):
    file = tmp_path / "landmarks68.safetensors"
    train_face_network.main(["--part", "ridge", "--cache", str(cache), "--file", str(file)])
    scored = json.loads(capsys.readouterr().out)
    assert scored["clean"] < scored["noisy"] < 3 and file.stat().st_size < 500_000


def test_scores_need_a_file(cache, capsys):
    assert train_face_network.main(["--part", "score", "--cache", str(cache)]) == 2
    assert "--file" in capsys.readouterr().err
