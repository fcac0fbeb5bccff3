"""Who is trained on and who is left out, how stills move, and what a crop goes through."""

import numpy as np
import torch

from scripts.evaluation.verifier import SIDE
from scripts.training.verifier_data import PeopleSampler, Photographs, augment, pack, still_person, unpack


def test_people_are_named_by_their_photographs():
    paths = ["inst/neutral_front/001_03.jpg", "inst/smiling_front/001_08.jpg", "man/7.jpg"]
    names = [still_person({"id": str(n), "source_path": p}) for n, p in enumerate(paths)]
    assert names == ["london-001", "london-001", "still-2"]


def test_frames_of_a_person_are_spread_evenly(photo_folder):
    photos = Photographs(photo_folder / "cache", photo_folder, "train")
    picks = photos.spread(3)
    assert photos.cache.frame[picks[:3]].tolist() == [0, 20, 50] and len(picks) == 3 + 3 + 2 + 1
    assert len(photos.spread(3, ("london-001",))) == 3 + 3 + 1


def test_moved_stills_show_the_points_where_they_went(photo_folder, face):
    photos = Photographs(photo_folder / "cache", photo_folder, "train")
    cache = photos.cache
    smooth = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (1, 256, 256, 3))
    cache.frames = np.repeat(smooth, len(cache), 0)  # the colour says the column
    picks = np.flatnonzero(cache.clip < 0)
    pictures, moved = photos.animate(picks, face, np.random.default_rng(3))
    before, after = torch.from_numpy(cache.landmarks[picks]), moved
    for point in (1, 33, 263):
        x, y = (after[0, point, :2] * 256).long().tolist()
        seen = (pictures[0, 0, y, x] + 1) / 2
        assert abs(seen - before[0, point, 0]) < 0.012
    assert (after - before)[..., :2].abs().amax() > 0.01


def test_crops_survive_packing_and_lose_the_masked_patch():
    crops = torch.cat([torch.rand(4, 3, SIDE, SIDE) * 2 - 1, torch.ones(4, 1, SIDE, SIDE)], 1)
    assert (unpack(pack(crops)) - crops).abs().max() < 0.005
    torch.manual_seed(0)
    seen = augment(crops.clone())
    assert seen.shape == crops.shape and seen.isfinite().all()
    assert (seen[:, :3] - crops[:, :3]).abs().mean() > 0.1
    hidden = (seen[:, 3] == 0).flatten(1).float().mean(1)
    assert ((hidden == 0) | (hidden > 0.05)).all() and (hidden > 0).any()


def test_a_step_tells_people_of_one_collection_apart():
    numbers = torch.arange(80).repeat_interleave(3)[torch.randperm(240)]
    collections = ["clips"] * 30 + ["a"] * 20 + ["b"] * 26 + ["c"] * 2 + ["d"] * 2
    sampler = PeopleSampler(numbers, collections)
    for _ in range(20):
        crops, people = sampler.draw(24)
        assert crops.shape == (2, len(people)) and len(set(people.tolist())) == len(people)
        assert (numbers[crops] == people).all()
        there = {collections[person] for person in people.tolist()} - {"clips"}
        assert there in ({"a"}, {"b"}) or there <= {"c", "d"}
        assert sum(collections[person] == "clips" for person in people.tolist()) == 12
