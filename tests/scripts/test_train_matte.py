"""Training of the matte network on a few made-up portraits: labels, resuming, export, scores."""

import csv
import io
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anitalker.models.loading import load_matte
from anitalker.network_config import MatteConfig
from scripts import export, label_mattes, train_matte
from scripts.training.matte_data import MatteSampler, load_backgrounds, load_mattes
from scripts.training.matte_objective import intersection_over_union, outline, pyramid_distance


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of three stills: discs of one colour before another; the last one is of val."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "stills").mkdir()
    rng, rows = np.random.default_rng(0), []
    with tarfile.open(folder / "stills/stills.tar", "w") as tar:
        for number in range(3):
            picture = np.full((256, 256, 3), rng.integers(0, 80, 3), np.uint8)
            picture[disc() > 0] = rng.integers(120, 256, 3)
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "WEBP", lossless=True)
            entry = tarfile.TarInfo(f"s{number}.webp")
            entry.size = file.tell()
            file.seek(0)
            tar.addfile(entry, file)
            rows.append({"id": f"s{number}", "split": "val" if number == 2 else "train"})
    with open(folder / "stills/manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ("id", "split"))
        writer.writeheader()
        writer.writerows(rows)
    np.savez(folder / "stills/landmarks.npz", ids=[row["id"] for row in rows], xyz_2048=np.zeros((3, 468, 3), "i2"))
    return folder


def disc():
    rows, columns = np.mgrid[:256, :256]
    return ((np.hypot(rows - 140, columns - 128) < 80) * 255).astype(np.uint8)


@pytest.fixture
def labels(data, tmp_path, monkeypatch):
    """A folder of mattes, labelled by a teacher that takes bright pixels."""

    def run(outputs, inputs):
        (picture,) = inputs.values()
        return [(picture.mean(1, keepdims=True) > -0.15).astype(np.float32)]

    taken = SimpleNamespace(name="input", shape=[1, 3, 128, 128])
    session = SimpleNamespace(get_inputs=lambda: [taken], run=run)
    monkeypatch.setattr(label_mattes, "open_teacher", lambda file, threads: session)
    assert label_mattes.main(["--data", str(data), "--teacher", "t.onnx", "--out", str(tmp_path / "labels")]) == 0
    return tmp_path / "labels"


def test_labels_are_made_once(data, labels, capsys):
    files = sorted((labels / "stills").iterdir())
    assert [file.name for file in files] == ["s0.png", "s1.png", "s2.png"]
    assert np.abs(np.asarray(Image.open(files[0])).astype(int) - disc()).mean() < 6
    assert label_mattes.main(["--data", str(data), "--teacher", "t.onnx", "--out", str(labels)]) == 0
    assert "0 mattes made, 3 in" in capsys.readouterr().out


def test_examples_have_the_portraits_alpha(data, labels, tmp_path):
    (tmp_path / "rooms").mkdir()
    Image.fromarray(np.full((300, 400, 3), (0, 0, 255), np.uint8)).save(tmp_path / "rooms/blue.png")
    mattes = load_mattes(data, labels, "train")
    assert mattes.pictures.shape == (2, 256, 256, 3) and mattes.foreground(1).shape == (256, 256, 3)
    backgrounds = load_backgrounds(tmp_path / "rooms")
    assert len(backgrounds) == 1 and tuple(backgrounds[0][0, 0]) == (0, 0, 255)
    batch = MatteSampler(mattes, backgrounds).draw(12, 3)
    assert batch.pictures.shape == (12, 3, 256, 256) and batch.alpha.shape == (12, 1, 256, 256)
    assert 0.02 < batch.alpha.mean() < 0.9 and batch.pictures.abs().max() <= 1
    again = MatteSampler(mattes, backgrounds).draw(12, 3)
    assert torch.equal(batch.alpha, again.alpha)
    assert train_matte.main(["--data", str(data), "--labels", str(tmp_path), "--out", str(tmp_path / "no")]) == 2


def test_scores_and_losses():
    alpha, target = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    alpha[..., 8:24], target[..., 8:16] = 1, 1
    assert intersection_over_union(alpha, target).item() == pytest.approx(0.5)
    assert intersection_over_union(torch.zeros_like(alpha), torch.zeros_like(alpha)).item() == 1
    near = outline(target)[0, 0, 16]
    assert near[8] == 1 and near[12] == 0 and near[30] == 0
    assert pyramid_distance(alpha, alpha) == 0 and pyramid_distance(alpha, target) > 0.2


@pytest.mark.slow
def test_training_resumes_and_becomes_a_file(data, labels, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_matte, "MatteConfig", lambda: MatteConfig(channels=(8, 8, 16, 16)))
    out = tmp_path / "run"
    options = ["--data", str(data), "--labels", str(labels), "--out", str(out), "--batch", "2", "--log-every", "1"]
    assert train_matte.main([*options, "--steps", "2"]) == 0
    assert "iou" in capsys.readouterr().out
    first = load_file(out / "weights.safetensors")
    assert train_matte.main([*options, "--steps", "3"]) == 0
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    after = load_file(out / "weights.safetensors")
    changed = {key for key in after if not torch.equal(first[key], after[key])}
    assert "matte.exit.weight" in changed and "matte.fires8.0.squeeze.weight" in changed
    assert "matte.entry.weight" not in changed, "edges and textures stay those of ImageNet"
    file = tmp_path / "matte.safetensors"
    export.export([out / "weights.safetensors"], "matte", file)
    network = load_matte(file)
    assert network.config.channels == (8, 8, 16, 16) and not network.training
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 64, 96))
    assert logits.shape == (1, 1, 64, 96) and torch.isfinite(logits).all()
