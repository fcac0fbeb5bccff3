"""Crops and scenes hold what their labels say."""

import numpy as np
import torch

from anitalker.faces.landmarks import LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from scripts.training import scenes


def test_mirror_pairs_left_and_right(people):
    order = scenes.mirror_order(people[1])
    assert order[list(RIGHT_EYE)].tolist() == list(LEFT_EYE)
    assert sorted(order[list(OUTER_LIPS)].tolist()) == sorted(OUTER_LIPS) and order[61] == 291 and order[13] == 13


def test_crops_keep_points_on_their_pixels(people, monkeypatch):
    monkeypatch.setattr(scenes, "degrade", lambda pictures: pictures)
    monkeypatch.setattr(scenes, "apply_to_share", lambda pictures, *_: pictures)
    mirror = scenes.mirror_order(people[1])
    crops, labels = scenes.face_crops(*people, mirror, 128)
    for crop, label in zip(crops, labels, strict=True):
        y, x = np.unravel_index(int(crop.mean(0).argmax()), (128, 128))
        gap = (label[[61, 291], :2] * 128 - torch.tensor([x + 0.5, y + 0.5])).norm(dim=-1)
        assert gap.min() < 6  # 61 in a mirrored crop, where left and right change names
        assert label[33, 0] < label[263, 0]


def test_shuffled_tiles_are_the_same_pixels_elsewhere():
    still = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    shuffled = scenes.shuffle_tiles(still, np.array([[0.25, 0.25], [0.71875, 0.71875]]), np.random.default_rng(0))
    changed = (shuffled != still).any(-1)
    assert np.array_equal(np.sort(shuffled, None), np.sort(still, None))
    assert changed[64:184, 64:184].mean() > 0.7 and changed.sum() < 122**2


def test_a_face_alone_has_nothing_of_its_surroundings():
    still = np.zeros((256, 256, 3), np.uint8)
    still[64:192, 32:160] = 200
    alone = scenes.face_alone(still, np.array([[0.125, 0.25], [0.625, 0.75]]))
    assert alone.shape == still.shape and (alone[1:-1, 1:-1] == 200).all()


def test_scenes_hold_the_faces_that_they_say(people):
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
