"""Made crops and scenes, anchor matching, scores, and the recipe on a made-up cache: train, resume, export, load."""

import json

import numpy as np
import pytest
import torch

from anitalker.config import DetectorConfig, InputError, LandmarkConfig
from anitalker.faces.face_network import Detector, crop_frame, decode_boxes, encode_boxes, fold_norms, to_crop
from anitalker.faces.landmarks import LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from anitalker.models.loading import load_face, read
from scripts import evaluate_faces, export, train_face_network
from scripts.training import face_architectures, face_losses, face_scores, scenes


@pytest.fixture
def people(face):
    """Four grey frames with a light square on a corner of the mouth (point 291), and landmarks in crop widths."""
    torch.manual_seed(0)
    place = torch.tensor([0.5, 0.42, 0.0]) + torch.randn(4, 1, 3) * torch.tensor([0.03, 0.03, 0.0])
    landmarks = face * 0.5 + place + torch.randn(4, 468, 3) * 1e-3
    frames = torch.full((4, 256, 256, 3), 90, dtype=torch.uint8)
    for frame, points in zip(frames, landmarks, strict=True):
        x, y = (points[291, :2] * 256).int().tolist()
        frame[y - 3 : y + 4, x - 3 : x + 4] = 255
    return frames, landmarks


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


def test_mirror_pairs_left_and_right(people):
    order = scenes.mirror_order(people[1])
    assert order[list(RIGHT_EYE)].tolist() == list(LEFT_EYE)
    assert sorted(order[list(OUTER_LIPS)].tolist()) == sorted(OUTER_LIPS) and order[61] == 291 and order[13] == 13


def test_crops_keep_points_on_their_pixels(people, monkeypatch):
    monkeypatch.setattr(scenes, "degrade", lambda pictures: pictures)
    mirror = scenes.mirror_order(people[1])
    crops, labels = scenes.face_crops(*people, mirror, 128)
    for crop, label in zip(crops, labels, strict=True):
        y, x = np.unravel_index(int(crop.mean(0).argmax()), (128, 128))
        gap = (label[[61, 291], :2] * 128 - torch.tensor([x + 0.5, y + 0.5])).norm(dim=-1)
        assert gap.min() < 6  # 61 in a mirrored crop, where left and right change names
        assert label[33, 0] < label[263, 0]


def test_degraded_pictures_stay_pictures():
    pictures = torch.rand(12, 3, 64, 64) * 2 - 1
    changed = scenes.degrade(pictures.clone())
    assert changed.shape == pictures.shape and changed.isfinite().all()
    assert changed.min() >= -1 and changed.max() <= 1 and (changed - pictures).abs().mean() > 0.05
    for change in (scenes.blur, scenes.coarsen, scenes.noise, scenes.jpeg, scenes.occlude):
        assert change(pictures).shape == pictures.shape
    assert scenes.blur(pictures).var() < pictures.var()


def test_scenes_hold_the_faces_that_they_say(people, monkeypatch):
    monkeypatch.setattr(scenes, "degrade", lambda pictures, occluded: pictures)
    pictures, boxes, points, valid = scenes.make_scenes(*people, 24, 160)
    assert pictures.shape == (24, 3, 160, 160) and pictures.isfinite().all()
    assert valid.any(1).sum() > 12 and not valid.all()
    size = (boxes[..., 2:] - boxes[..., :2])[valid]
    assert size.min() > 4 and size.max() < 240
    inside = (points[valid] > boxes[valid][:, None, :2] - 1) & (points[valid] < boxes[valid][:, None, 2:] + 1)
    assert inside.all()
    eyes, mouth = points[valid][:, :2].mean(1), points[valid][:, 3]
    assert (eyes[:, 1] < mouth[:, 1]).all()
    assert (points[valid][:, 0, 0] < points[valid][:, 1, 0]).all()  # also where a face was pasted mirrored


def test_beside_a_face_is_no_face(people):
    low, high = people[1][..., :2].amin(1), people[1][..., :2].amax(1)
    room = scenes.beside_face(people[1])
    apart = (
        (room[:, 0] >= high[:, 0]) | (room[:, 2] <= low[:, 0]) | (room[:, 1] >= high[:, 1]) | (room[:, 3] <= low[:, 1])
    )
    assert apart.all() and (room[:, 2:] > room[:, :2]).all()


def test_anchors_take_the_face_they_cover():
    anchors = torch.tensor([[20.0, 20, 16], [60, 60, 32], [20, 60, 16]])
    boxes = torch.tensor([[[13.0, 12, 28, 28], [30, 30, 90, 90], [0, 0, 0, 0]]])
    label, which = face_losses.match(anchors, boxes, torch.tensor([[True, True, False]]))
    assert label.tolist() == [[1, 1, 0]]  # the second overlaps too little but is the best there is
    assert which[0, :2].tolist() == [0, 1]


def test_losses_vanish_at_the_truth(people):
    _, truth = people
    weights = face_losses.point_weights()
    assert weights[:, :2].mean() == pytest.approx(1, abs=1e-4) and weights[13, 0] == pytest.approx(
        3 * float(weights[1, 0])
    )
    assert face_losses.landmark_loss(truth, truth, weights) == 0
    assert face_losses.opening_loss(truth + 0.1, truth) == pytest.approx(0, abs=1e-6)
    assert face_losses.landmark_loss(truth + torch.tensor([0.005, 0, 0]), truth, weights) == pytest.approx(
        0.005 / 0.5 / 3, rel=0.02
    )
    anchors = torch.tensor([[20.0, 20, 16], [60, 60, 32]])
    boxes, points = torch.tensor([[[12.0, 12, 28, 28]]]), torch.full((1, 1, 4, 2), 20.0)
    sure = torch.tensor([[20.0, -20.0]])
    out = (sure, encode_boxes(anchors, boxes.expand(1, 2, 4)), torch.zeros(1, 2, 4, 2))
    score, box, point = face_losses.detector_loss(out, anchors, boxes, points, torch.ones(1, 1, dtype=torch.bool))
    assert score < 1e-6 and box == pytest.approx(0, abs=1e-5) and point == pytest.approx(0, abs=1e-5)
    assert torch.allclose(decode_boxes(anchors, out[1])[0, 0], boxes[0, 0], atol=1e-4)


def test_average_precision_by_hand():
    assert face_scores.average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]), 2) == pytest.approx(
        0.5 + 0.5 * 2 / 3
    )
    truth = torch.tensor([[0.0, 0, 10, 10]])
    found = torch.tensor([[0.0, 0, 10, 9], [0, 0, 9, 10], [50, 50, 60, 60]])
    assert face_scores.claim(found, truth) == [True, False, False]
    assert face_scores.claim(found, torch.zeros(0, 4)) == [False, False, False]


def test_the_shape_starts_from_principal_directions(people):
    mean, directions = train_face_network.shape_basis(people[1], 3)
    upright = to_crop(people[1], *crop_frame(people[1])) - torch.tensor([0.5, 0.5, 0.0])
    assert torch.allclose(mean, upright.mean(0), atol=1e-5)
    spread = directions.flatten(1)
    assert torch.allclose(spread @ spread.T, torch.diag((spread**2).sum(-1)), atol=1e-6)


def test_learning_rate_rises_stays_and_falls():
    rates = [train_face_network.learning_rate(step, 1000, 1.0) for step in (0, 99, 500, 800, 999)]
    assert rates == pytest.approx([0.01, 1, 1, 0.5, 0.02])


def test_recipe_trains_resumes_exports_and_loads(cache, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_face_network, "DEFAULTS", {"landmarks": (2, 4, 1e-3), "detector": (1, 2, 1e-3)})
    monkeypatch.setattr(train_face_network, "LandmarkConfig", small_config)
    for part in ("landmarks", "detector"):
        train_face_network.main(["--part", part, "--cache", str(cache), "--out", str(tmp_path / part)])
    train_face_network.main(
        ["--part", "landmarks", "--cache", str(cache), "--out", str(tmp_path / "landmarks"), "--steps", "3"]
    )
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    file = tmp_path / "face.safetensors"
    export.main([str(tmp_path / "detector"), str(tmp_path / "landmarks"), "--kind", "face", "-o", str(file)])
    network = load_face(file)
    assert network.landmarks.config.coefficients == 3
    with torch.no_grad():
        assert network.landmarks(torch.zeros(1, 3, 64, 64)).isfinite().all()


def small_config() -> LandmarkConfig:
    return LandmarkConfig(size=64, channels=(8, 8, 16), blocks=1, neck=8, coefficients=3, part_size=8)


def test_detector_learns_one_batch(people):
    torch.manual_seed(0)
    network = Detector(train_face_network.DetectorConfig(channels=(8, 16, 16, 16), pyramid=16))
    anchors = network.anchors(160, 160)
    batch = scenes.make_scenes(*people, 4, 160)
    optimizer, losses = torch.optim.AdamW(network.parameters(), 5e-3), []
    for _ in range(14):
        loss = sum(face_losses.detector_loss(network(batch[0]), anchors, *batch[1:]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[-1] < 0.75 * losses[0]


def small_detector() -> DetectorConfig:
    return DetectorConfig(channels=(8, 16, 16, 16), pyramid=16, long_side=64)


def train(arch, cache, folder, steps):
    """Steps of two scenes of 64 pixels."""
    given = ["--part", "detector", "--arch", arch, "--cache", str(cache), "--out", str(folder), "--no-bf16"]
    train_face_network.main([*given, "--steps", str(steps), "--batch", "2"])


@pytest.mark.parametrize("arch", face_architectures.ARCHITECTURES)
def test_every_architecture_trains_resumes_and_detects(cache, tmp_path, capsys, monkeypatch, arch):
    monkeypatch.setattr(train_face_network, "DetectorConfig", small_detector)
    train(arch, cache, tmp_path / "run", 1)
    before, _ = read(tmp_path / "run" / "weights.safetensors")
    train(arch, cache, tmp_path / "run", 2)
    assert "resumed at step 1 of 2" in capsys.readouterr().out
    name, steps, network = evaluate_faces.trained(str(tmp_path / "run"))
    assert (name, steps) == (arch, 2) and before["steps"] == 1
    found = fold_norms(network).detect(torch.rand(2, 3, 64, 64) * 2 - 1, 0.0001)
    assert len(found) == 2
    for one in found:
        assert one.boxes.shape == (len(one.scores), 4) and one.points.shape == (len(one.scores), 4, 2)
        assert (one.scores.diff() <= 0).all() and one.boxes.isfinite().all()


def test_architectures_see_the_same_scenes(cache, tmp_path, monkeypatch):
    """Faster R-CNN draws random numbers of its own, for the anchors that it learns from."""
    monkeypatch.setattr(train_face_network, "DetectorConfig", small_detector)
    seen = {}
    for arch in ("own", "fasterrcnn"):
        sums, make = seen.setdefault(arch, []), scenes.make_scenes

        def watched(*arguments, sums=sums, make=make):
            made = make(*arguments)
            sums.append(float(made[0].double().sum()))
            return made

        monkeypatch.setattr(train_face_network, "make_scenes", watched)
        train(arch, cache, tmp_path / arch, 2)
    assert seen["own"] == seen["fasterrcnn"] and len(set(seen["own"])) == 2


def test_what_is_not_ours_is_not_exported(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(train_face_network, "DetectorConfig", small_detector)
    train("retinanet", cache, tmp_path / "run", 1)
    with pytest.raises(SystemExit, match="no run has detector"):
        export.main([str(tmp_path / "run"), "--kind", "face", "-o", str(tmp_path / "face.safetensors")])


def test_unknown_architectures_are_named(cache, capsys):
    with pytest.raises(InputError, match=r"arch is 'yolo'; allowed are own, ssd, retinanet, fcos, fasterrcnn"):
        face_architectures.build("yolo", small_detector())
    with pytest.raises(SystemExit) as caught:
        train("yolo", cache, "run", 1)
    assert caught.value.code == 2 and "invalid choice: 'yolo'" in capsys.readouterr().err


def test_ridge_is_written_and_scored(cache, tmp_path, capsys):
    file = tmp_path / "landmarks68.safetensors"
    train_face_network.main(["--part", "ridge", "--cache", str(cache), "--file", str(file)])
    scored = json.loads(capsys.readouterr().out)
    assert scored["clean"] < scored["noisy"] < 3 and file.stat().st_size < 500_000


def test_scores_need_a_file(cache):
    with pytest.raises(InputError, match="--file"):
        train_face_network.main(["--part", "score", "--cache", str(cache)])
