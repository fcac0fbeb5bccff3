"""Pairs of frames of a person."""

import torch

from scripts.training.data import FrameCache
from scripts.training.pairs import PairSampler


def test_pairs_of_a_person_share_identity_and_stills_are_their_own_pair(cache, labels):
    pairs = PairSampler(FrameCache(cache, "train"), labels, stills=0.5, aligned=0.5).draw(12)
    assert pairs.picture_a.shape == (12, 3, 256, 256) and pairs.picture_a.abs().max() <= 1
    still = ~pairs.labelled
    assert 0 < still.sum() < 12
    assert torch.allclose(pairs.codes_a[still, 6:], pairs.codes_b[still, 6:], atol=1e-3)
    assert (pairs.codes_a - pairs.codes_b)[~still, 6:].abs().amax(1).min() > 5e-3
