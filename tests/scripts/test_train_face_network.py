"""The face network's recipes on a made-up cache: train, resume, export, load."""

import json

import numpy as np
import pytest
import torch

from anitalker.faces.face_network import Detector, crop_frame, decode_boxes, encode_boxes, to_crop
from anitalker.models.loading import load_face
from anitalker.network_config import DetectorConfig, LandmarkConfig
from scripts import export, train_face_network
from scripts.training import scenes


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


@pytest.mark.slow
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
    assert scored["percent"] < 3 and file.stat().st_size < 500_000


def test_anchors_take_the_face_they_cover():
    anchors = torch.tensor([[20.0, 20, 16], [60, 60, 32], [20, 60, 16]])
    boxes = torch.tensor([[[13.0, 12, 28, 28], [30, 30, 90, 90], [0, 0, 0, 0]]])
    label, which = train_face_network.match(anchors, boxes, torch.tensor([[True, True, False]]))
    assert label.tolist() == [[1, 1, 0]]  # the second overlaps too little but is the best there is
    assert which[0, :2].tolist() == [0, 1]


def test_losses_vanish_at_the_truth(people):
    _, truth = people
    weights = train_face_network.coordinate_weights()
    assert weights[:, :2].mean() == pytest.approx(1, abs=1e-4) and weights[13, 0] == pytest.approx(
        3 * float(weights[1, 0])
    )
    assert train_face_network.landmark_loss(truth, truth, weights) == 0
    assert train_face_network.opening_loss(truth + 0.1, truth) == pytest.approx(0, abs=1e-6)
    assert train_face_network.landmark_loss(truth + torch.tensor([0.005, 0, 0]), truth, weights) == pytest.approx(
        0.005 / 0.5 / 3, rel=0.02
    )
    anchors = torch.tensor([[20.0, 20, 16], [60, 60, 32]])
    boxes, points = torch.tensor([[[12.0, 12, 28, 28]]]), torch.full((1, 1, 4, 2), 20.0)
    sure = torch.tensor([[20.0, -20.0]])
    out = (sure, encode_boxes(anchors, boxes.expand(1, 2, 4)), torch.zeros(1, 2, 4, 2))
    score, box, point = train_face_network.detector_loss(
        out, anchors, boxes, points, torch.ones(1, 1, dtype=torch.bool)
    )
    assert score < 1e-6 and box == pytest.approx(0, abs=1e-5) and point == pytest.approx(0, abs=1e-5)
    assert torch.allclose(decode_boxes(anchors, out[1])[0, 0], boxes[0, 0], atol=1e-4)


def test_detector_learns_one_batch(people):
    torch.manual_seed(0)
    network = Detector(DetectorConfig(channels=(8, 16, 16, 16), pyramid=16))
    anchors = network.anchors(160, 160)
    batch = scenes.make_scenes(*people, 4, 160)
    optimizer, losses = torch.optim.AdamW(network.parameters(), 5e-3), []
    for _ in range(14):
        loss = sum(train_face_network.detector_loss(network(batch[0]), anchors, *batch[1:]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[-1] < 0.75 * losses[0]
