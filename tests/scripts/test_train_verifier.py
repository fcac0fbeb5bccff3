"""The verifier's training on made-up faces: one run to a file that loads, who is left out, what a crop goes through."""

import csv
import json

import numpy as np
import pytest
import torch

from anitalker.faces.landmarks import from_canonical
from scripts import train_verifier
from scripts.evaluation.verifier import SIDE, Verifier
from scripts.training.data import FrameCache
from scripts.training.labels import MotionLabels

STILLS = {"train": ["inst/neutral_front/001_03.jpg", "inst/smiling_front/001_08.jpg", "man/7.jpg"]}
STILLS["val"] = ["man/8.jpg", "man/9.jpg"]


@pytest.fixture
def folder(tmp_path, face):
    """DIR/stills/manifest.csv and DIR/cache: two people with a clip of 60 frames every 10, and stills."""
    rng = np.random.default_rng(0)
    (tmp_path / "stills").mkdir()
    rows = [(f"{split}{n}", split, path) for split, paths in STILLS.items() for n, path in enumerate(paths)]
    with open(tmp_path / "stills/manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", "split", "source_path"), *rows])
    for split, paths in STILLS.items():
        cache, count = tmp_path / "cache" / split, 12 + len(paths)
        cache.mkdir(parents=True)
        poses = torch.randn(count, 6) * 0.05 - torch.tensor([0, 0, 0, 0, 0, 0.6])
        np.save(cache / "frames.npy", rng.integers(0, 256, (count, 256, 256, 3), np.uint8))
        clip = np.array([0] * 6 + [1] * 6 + [-1] * len(paths))
        frame = np.concatenate([np.arange(6) * 10, np.arange(6) * 10, np.zeros(len(paths), int)])
        landmarks = from_canonical(face.expand(count, -1, -1), poses).numpy()
        np.savez(
            cache / "index.npz", landmarks=landmarks, clip=clip, frame=frame, identity=clip, good=np.ones(count, bool)
        )
        names = [f"ann-{split}", f"bob-{split}"]
        (cache / "rows.json").write_text(json.dumps([{"id": name, "identity": name} for name in names]))
    directions = torch.linalg.qr(torch.randn(468 * 3, 14)).Q
    MotionLabels(face, directions, {"ann": face}).save(tmp_path / "cache/labels.npz")
    return tmp_path


def options(folder, *more):
    paths = ["--data", folder, "--cache", folder / "cache", "--out", folder / "run", "--steps", 2, "--batch", 4]
    return [str(word) for word in (*paths, *more)]


def test_a_run_ends_in_a_file_that_judges(folder, capsys):
    train_verifier.main(options(folder, "--file", folder / "v.safetensors", "--no-bf16"))
    assert "3 people" in capsys.readouterr().out  # the one with two photographs is kept out
    train_verifier.main(options(folder, "--steps", 3, "--no-bf16"))  # continues, from the crops of the first time
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    judge = Verifier(folder / "v.safetensors")
    rates = judge.config["equal_error"]
    assert {"val_clips", "two_photographs"} <= set(rates) and "val_clips_other_recording" not in rates
    assert 0 <= rates["val_clips"]["equal_error_rate"] <= 1 and rates["val_clips"]["people"] == 2
    cache = FrameCache(folder / "cache", "val")
    made = judge(cache.frames[:3], cache.landmarks[:3])
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


def test_people_are_named_by_their_photographs():
    names = [train_verifier.still_person({"id": str(n), "source_path": p}) for n, p in enumerate(STILLS["train"])]
    assert names == ["london-001", "london-001", "still-2"]


def test_frames_of_a_person_are_spread_evenly(folder):
    cache = FrameCache(folder / "cache", "train")
    names = train_verifier.people_of(cache, train_verifier.still_rows(str(folder), "train"))
    picks = train_verifier.spread_frames(cache, names, 3)
    assert cache.frame[picks[:3]].tolist() == [0, 20, 50] and len(picks) == 3 + 3 + 2 + 1


def test_moved_stills_show_the_points_where_they_went(folder, face):
    cache = FrameCache(folder / "cache", "train")
    smooth = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (1, 256, 256, 3))
    cache.frames = np.repeat(smooth, len(cache), 0)  # the colour says the column
    picks = np.flatnonzero(cache.clip < 0)
    pictures, moved = train_verifier.animated(cache, picks, face, np.random.default_rng(3))
    before, after = torch.from_numpy(cache.landmarks[picks]), moved
    for point in (1, 33, 263):
        x, y = (after[0, point, :2] * 256).long().tolist()
        seen = (pictures[0, 0, y, x] + 1) / 2
        assert abs(seen - before[0, point, 0]) < 0.012
    assert (after - before)[..., :2].abs().amax() > 0.01


def test_crops_survive_packing_and_lose_the_masked_patch():
    crops = torch.cat([torch.rand(4, 3, SIDE, SIDE) * 2 - 1, torch.ones(4, 1, SIDE, SIDE)], 1)
    assert (train_verifier.unpack(train_verifier.pack(crops)) - crops).abs().max() < 0.005
    torch.manual_seed(0)
    seen = train_verifier.augment(crops.clone())
    assert seen.shape == crops.shape and seen.isfinite().all()
    assert (seen[:, :3] - crops[:, :3]).abs().mean() > 0.1
    hidden = (seen[:, 3] == 0).flatten(1).float().mean(1)
    assert ((hidden == 0) | (hidden > 0.05)).all() and (hidden > 0).any()


def test_a_step_tells_people_of_one_collection_apart():
    numbers = torch.arange(80).repeat_interleave(3)[torch.randperm(240)]
    collections = ["clips"] * 30 + ["a"] * 20 + ["b"] * 26 + ["c"] * 2 + ["d"] * 2
    drawer = train_verifier.Drawer(numbers, collections)
    for _ in range(20):
        crops, people = drawer(24)
        assert crops.shape == (2, len(people)) and len(set(people.tolist())) == len(people)
        assert (numbers[crops] == people).all()
        there = {collections[person] for person in people.tolist()} - {"clips"}
        assert there in ({"a"}, {"b"}) or there <= {"c", "d"}
        assert sum(collections[person] == "clips" for person in people.tolist()) == 12


def test_contrast_of_known_embeddings():
    apart = torch.eye(8)
    assert train_verifier.contrast(apart, apart) < 0.01
    assert train_verifier.contrast(apart, apart.roll(1, 0)) > 9
    assert train_verifier.contrast(torch.ones(8, 1), torch.ones(8, 1)).item() == pytest.approx(np.log(15), rel=1e-4)
