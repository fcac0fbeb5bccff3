"""Labels of irises, and the locator's training on made-up eyes: it learns, resumes, and ends in a file that loads."""

import numpy as np
import pytest
import torch

from anitalker.config import CROP, InputError
from anitalker.decoder.eyelids import LID_INDICES, eye_axes
from anitalker.decoder.iris import IrisNetwork
from anitalker.models.loading import load_iris
from anitalker.network_config import IrisConfig
from scripts import label_irises, train_iris
from scripts.label_irises import IRISES, EyeLabels, label, read_labels
from scripts.training.data import FrameCache

RADIUS = 0.2  # of the made-up irises, in eye widths


def mesh_points(landmarks, places):
    """478 points [N,478,2]: landmarks [N,468,3] and irises at `places` [N,2,2] in a and b."""
    corner, axes = eye_axes(torch.from_numpy(landmarks[..., :2]))
    iris = (corner + (torch.from_numpy(places)[:, :, None] @ axes).squeeze(2)).numpy()
    points = np.zeros((len(landmarks), 478, 2), np.float32)
    points[:, :468] = landmarks[..., :2]
    reach = RADIUS * axes[:, :, 0].norm(dim=-1).numpy()
    for eye, (centre, *rim) in enumerate(IRISES):
        points[:, centre] = iris[:, eye]
        for number, (x, y) in zip(rim, ((1, 0), (0, 1), (-1, 0), (0, -1)), strict=True):
            points[:, number] = iris[:, eye] + reach[:, eye, None] * np.float32([x, y])
    return points


@pytest.fixture
def eyes(cache):
    """The cache, its frames with dark discs for irises, and labels that know them."""
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        frames = np.load(cache / split / "frames.npy")
        landmarks = np.load(cache / split / "index.npz")["landmarks"]
        places = np.float32([0.5, -0.05]) + rng.uniform(-0.12, 0.12, (len(frames), 2, 2)).astype(np.float32)
        points = mesh_points(landmarks, places)
        labels = EyeLabels.of_points(points, np.ones(len(frames), bool))
        y, x = np.mgrid[:CROP, :CROP]
        for n in range(len(frames)):
            frames[n] = 200
            for eye in range(2):
                centre, reach = labels.iris[n, eye] * CROP, labels.radius[n, eye] * CROP
                frames[n][np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1]) < reach] = 30
        np.save(cache / split / "frames.npy", frames)
        fields = {name: getattr(labels, name) for name in ("lids", "iris", "radius", "found")}
        np.savez(cache / split / label_irises.FILE, **fields)
    return cache


def test_labels_are_the_meshs_points(eyes):
    cache = FrameCache(eyes, "val")
    true, frames = read_labels(eyes, "val"), cache.frames
    points = {frames[n].tobytes(): n for n in range(len(frames))}
    mesh = np.zeros((len(frames), 478, 2), np.float32)
    mesh[:, LID_INDICES] = true.lids.reshape(len(frames), -1, 2)
    mesh[:, [468, 473]] = true.iris

    def fake(frame):
        number = points[frame.tobytes()]
        return None if number == 1 else mesh[number]

    read = label(frames, fake, [0, 1, 2])
    assert read.found.tolist() == [True, False, True] + [False] * 7
    np.testing.assert_allclose(read.iris[[0, 2]], true.iris[[0, 2]])
    np.testing.assert_allclose(read.width[0], true.width[0])
    assert np.allclose(true.radius / true.width, RADIUS, atol=1e-4) and (true.opening > 0.05).all()
    assert true.usable(cache.landmarks).all()
    astray = EyeLabels(true.lids, true.iris + 0.5 * true.width[..., None], true.radius, true.found)
    assert not astray.usable(cache.landmarks).any()


def test_missing_labels_and_a_missing_package_are_told(cache, monkeypatch):
    with pytest.raises(InputError, match=r"no .*eyes.npz; run python -m scripts.label_irises"):
        read_labels(cache, "train")
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    with pytest.raises(InputError, match="run pip install mediapipe"):
        label_irises.face_mesh()


def test_patches_and_places_belong_together(eyes):
    sampler = train_iris.EyeSampler(FrameCache(eyes, "train"), read_labels(eyes, "train"))
    pictures, landmarks = sampler.cache.draw(sampler.numbers)
    patches, centre, radius = sampler.see(train_iris.to_tensor(pictures), landmarks, sampler.numbers)
    x = -0.25 + 1.5 * (torch.arange(48) + 0.5) / 48
    y = -0.5 + (torch.arange(32) + 0.5) / 32
    dark = (patches.mean(1) < 0).float()
    middle = torch.stack([(dark * x).sum((1, 2)), (dark * y[:, None]).sum((1, 2))], 1) / dark.sum((1, 2))[:, None]
    assert (middle - centre).abs().max() < 0.03 and (radius - RADIUS).abs().max() < 1e-3
    assert train_iris.hide(torch.zeros(64, 3, 32, 48)).abs().flatten(1).amax(1).gt(0).float().mean() < 0.5


@pytest.mark.slow
def test_a_short_training_finds_discs(eyes, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(train_iris, "hide", lambda patches: patches)
    sampler = train_iris.EyeSampler(FrameCache(eyes, "train"), read_labels(eyes, "train"))
    network = IrisNetwork(IrisConfig(channels=(8, 8, 16), hidden=16))
    objective, optimizer = train_iris.IrisObjective(network), torch.optim.Adam(network.parameters(), 5e-3)
    before = train_iris.score(network.eval(), sampler)["mean"]
    for step in range(40):
        losses, _ = objective.train()(sampler.draw(8, step), step)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert train_iris.score(network.eval(), sampler)["mean"] < 0.7 * before


@pytest.mark.slow
def test_a_run_ends_in_a_file_that_loads(eyes, tmp_path, capsys):
    options = ["--cache", str(eyes), "--out", str(tmp_path / "run"), "--batch", "4"]
    file = tmp_path / "iris.safetensors"
    assert train_iris.main([*options, "--steps", "2", "--file", str(file)]) == 0
    assert train_iris.main([*options, "--steps", "3"]) == 0
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    network = load_iris(file)
    assert network is not None and not network.training
    centre, radius, _ = network(torch.rand(2, 3, 32, 48))
    assert centre.shape == (2, 2) and radius.isfinite().all()
    assert load_iris(tmp_path / "none.safetensors") is None
