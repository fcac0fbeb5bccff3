"""Mirrored, moved and recoloured pictures keep to their landmarks and to each other."""

import torch

from anitalker.faces.landmarks import from_canonical
from scripts.training.augment import after, colour_pairs, degrade, jpeg, mirror, mirror_index, random_similarity


def test_colour_changes_both_pictures_of_a_pair_alike():
    a = torch.rand(4, 3, 8, 8) * 2 - 1
    b, before = a.clone(), a.clone()
    colour_pairs(a, b, 0.3)
    assert torch.equal(a, b) and not torch.equal(a, before)


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


def test_degraded_pictures_are_softer_or_noisier_and_the_rest_as_they_were():
    torch.manual_seed(0)
    pictures = torch.rand(12, 3, 64, 64) * 2 - 1
    changed = degrade(pictures.clone())
    same = (changed == pictures).flatten(1).all(1)
    assert changed.shape == pictures.shape and changed.isfinite().all() and 0 < same.sum() < 12
    assert 0.02 < (jpeg(pictures[0]) - pictures[0]).abs().mean() < 0.5
