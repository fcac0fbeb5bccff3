"""Weights of mouth and eyes, the terms of a recipe, and scores of frames."""

import numpy as np
import pytest
import torch

from anitalker.faces.landmarks import from_canonical
from encoders.image import to_tensor
from scripts.training.data import FrameCache
from scripts.training.pairs import PairSampler
from scripts.training.pictures import PictureTerms, importance, score_frames
from scripts.training.presets import Pictures


def test_mouth_and_eyes_weigh_more_than_the_face_and_the_face_more_than_the_rest(face):
    shape = face.clone()
    shape[14, 1] += 0.1  # an open mouth
    points = from_canonical(shape[None], torch.tensor([[0, 0, 0, 0, 0, -0.5]]))
    weight, features = importance(points, 128)
    x, y = (points[0, [13, 33, 205], :2] * 128).long().T
    mouth, eye, cheek = weight[0, 0, y, x]
    assert weight[0, 0, 0, 0] == 1 and mouth > eye > cheek > 1.5
    assert features[0, 0, y[0], x[0]] > 0.9 and features[0, 0, y[2], x[2]] < 0.1


def test_a_picture_that_is_right_costs_nothing_and_the_discriminator_waits(cache, labels):
    pairs = PairSampler(FrameCache(cache, "train"), labels, stills=0.0).draw(2)
    recipe = Pictures(perceptual=0.0, adversarial=0.5, adversarial_after=3)
    terms, last = PictureTerms(recipe, "none"), torch.nn.Parameter(torch.ones(1))
    losses, total, outputs = terms(pairs.picture_b * last, pairs, pairs.landmarks_b, last, 0)
    assert set(losses) == {"l1"} and total == 0 and outputs == {}
    losses, total, outputs = terms(pairs.picture_a * last, pairs, pairs.landmarks_b, last, 5)
    assert set(losses) == {"l1", "adversarial"} and total > 0
    fake, real = outputs["adversarial"]
    assert len(fake) == len(real) == 3 and not any(view.pictures.requires_grad for view in fake)


def test_frames_are_scored_whole_and_inside_the_face(cache):
    val = FrameCache(cache, "val")

    def almost(numbers, pictures, landmarks):
        assert pictures.shape == (len(numbers), 3, 256, 256)
        return {"off": to_tensor(torch.from_numpy(np.array(val.frames[numbers]))) * 0.9}

    scores = score_frames(val, torch.device("cpu"), almost)
    assert set(scores) == {"copy_whole", "copy_face", "off_whole", "off_face"}
    assert all(len(values) == 2 for values in scores.values())
    assert min(scores["off_whole"]) > max(scores["copy_whole"]) + 3
    assert scores["off_whole"][0] == pytest.approx(scores["off_face"][0], abs=1)
