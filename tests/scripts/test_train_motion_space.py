"""Stage one on made-up faces: labels, one repeated batch, a resumed run, landmark files, mirrored augmentation."""

import json

import numpy as np
import pytest
import torch

from anitalker.landmarks import from_canonical, lip_opening
from scripts import train_motion_space
from scripts.training.augment import after, mirror, mirror_index, random_similarity
from scripts.training.data import decode_landmarks, encode_landmarks
from scripts.training.labels import MotionLabels, close_lips
from scripts.training.pairs import PairSampler


def labels(face):
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(468 * 3, 14)).Q
    return MotionLabels(face, directions, {"ann": face, "bob": face * torch.tensor([1.05, 0.97, 1.0])})


@pytest.fixture
def cache(tmp_path, face):
    """Two people with a clip of four frames each and two stills: noise pictures, true geometry."""
    rng, made = np.random.default_rng(0), labels(face)
    for split in ("train", "val"):
        folder = tmp_path / "cache" / split
        folder.mkdir(parents=True)
        codes = torch.randn(10, 20) * 0.03 - torch.tensor([0] * 5 + [0.6] + [0] * 14)
        shapes = torch.stack([made.neutrals["ann" if i < 4 else "bob"] for i in range(10)])
        shapes = shapes + (codes[:, 6:] @ made.directions.T).unflatten(1, (468, 3))
        np.save(folder / "frames.npy", rng.integers(0, 256, (10, 256, 256, 3), np.uint8))
        clip = np.array([0] * 4 + [1] * 4 + [-1] * 2)
        index = {"clip": clip, "frame": np.arange(10), "identity": np.array([0] * 4 + [1] * 4 + [2, 3])}
        np.savez(
            folder / "index.npz",
            landmarks=from_canonical(shapes, codes[:, :6]).numpy(),
            good=np.ones(10, bool),
            **index,
        )
        rows = [{"id": f"c{i}", "identity": name, "shard": "mixed-0"} for i, name in enumerate(("ann", "bob"))]
        (folder / "rows.json").write_text(json.dumps(rows))
    made.save(tmp_path / "cache" / "labels.npz")
    return tmp_path / "cache"


def test_landmark_files_are_an_inverse_pair(face):
    track = from_canonical(face.expand(5, -1, -1), torch.randn(5, 6) * 0.05).numpy()
    assert np.abs(decode_landmarks(encode_landmarks(track), 5) - track).max() <= 0.5 / 2048 + 1e-6


def test_codes_of_made_landmarks_are_the_codes_they_were_made_of(face):
    made = labels(face)
    codes = torch.randn(6, 20) * 0.02 - torch.tensor([0] * 5 + [0.6] + [0] * 14)
    shape = face + (codes[:, 6:] @ made.directions.T).unflatten(1, (468, 3))
    read = made.codes(from_canonical(shape, codes[:, :6]).numpy(), "ann")
    assert (read - codes).abs().max() < 0.03  # random directions move the stable points a little


def test_somebody_who_never_shuts_the_mouth_gets_a_shut_neutral(face):
    gap = torch.zeros(468, 3)
    gap[14, 1], gap[13, 1] = 1.0, -1.0
    directions = torch.linalg.qr(torch.cat([gap.flatten()[:, None], torch.randn(468 * 3, 13)], 1)).Q
    opened = face + 0.04 * gap
    assert lip_opening(opened) > 0.08 and lip_opening(close_lips(opened, directions)) < 0.012


def test_mirror_is_a_permutation_of_pairs_and_mirrored_landmarks_fit_the_mirrored_picture(face):
    index = mirror_index(face)
    assert torch.equal(index[index], torch.arange(468)) and index[33] == 263 and index[61] == 291
    marks = from_canonical(face.expand(2, -1, -1), torch.tensor([[0.2, 0, 0.1, 0.05, 0, -0.6]]).expand(2, -1))
    picture = torch.zeros(2, 1, 64, 64)
    picture[..., 10] = 1
    pictures, moved = mirror(picture, marks, index, torch.tensor([True, False]))
    assert torch.allclose(moved[0, 263, 0], 1 - marks[0, 33, 0], atol=1e-5) and torch.equal(moved[1], marks[1])
    assert pictures[0, 0, 0, 53] == 1 and pictures[1, 0, 0, 10] == 1


def test_one_transform_after_another_is_their_composition(face):
    first, then = random_similarity(3), random_similarity(3)
    marks = from_canonical(face.expand(3, -1, -1), torch.tensor([[0.0, 0, 0, 0, 0, -0.8]]).expand(3, -1))
    assert torch.allclose(after(first, then).landmarks(marks), then.landmarks(first.landmarks(marks)), atol=1e-5)


def test_pairs_of_a_person_share_identity_and_stills_are_their_own_pair(cache, face):
    from scripts.training.data import FrameCache

    pairs = PairSampler(FrameCache(cache, "train"), labels(face), stills=0.5, aligned=0.5).draw(12)
    assert pairs.picture_a.shape == (12, 3, 256, 256) and pairs.picture_a.abs().max() <= 1
    still = ~pairs.labelled
    assert 0 < still.sum() < 12
    assert torch.allclose(pairs.codes_a[still, 6:], pairs.codes_b[still, 6:], atol=1e-3)
    assert (pairs.codes_a - pairs.codes_b)[~still, 6:].abs().amax(1).min() > 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["codes", "decoder"])
def test_training_runs_exports_and_resumes(cache, stage, capsys):
    out = cache.parent / stage
    common = [
        "--data",
        "unused",
        "--cache",
        str(cache),
        "--stage",
        stage,
        "--out",
        str(out),
        "--batch",
        "2",
        "--threads",
        "2",
    ]
    train_motion_space.main([*common, "--steps", "2", "--score", "100"])
    assert (out / "weights.safetensors").is_file() and json.loads((out / "config.json").read_text())["motion_space"]
    train_motion_space.main([*common, "--steps", "3", "--score", "100"])
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 3


@pytest.mark.slow
def test_codes_loss_falls_on_a_repeated_batch(cache, face):
    from anitalker.config import MotionSpaceConfig
    from anitalker.motion_space import MotionSpace
    from scripts.training.codes import CodesLoss, start_from_labels
    from scripts.training.data import FrameCache
    from scripts.training.losses import point_weights

    data = FrameCache(cache, "train")
    space = MotionSpace(MotionSpaceConfig())
    start_from_labels(space, labels(face), data)
    loss = CodesLoss(4, 64, 256, point_weights())
    pairs = PairSampler(data, labels(face), stills=0.0).draw(4)
    optimizer = torch.optim.AdamW(space.parameters(), lr=1e-3)
    values = []
    for _ in range(20):
        losses = loss(space, pairs)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        values.append(losses["total"].item())
    assert np.isfinite(values).all() and np.mean(values[-3:]) < 0.8 * np.mean(values[:3])
