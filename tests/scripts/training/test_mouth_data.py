"""Mouth patches drawn from decoded clips and stills."""

import numpy as np
import pytest
import torch

from scripts.training.data import FrameCache
from scripts.training.mouth_data import APART, MouthSampler
from scripts.training.mouth_objective import change_colours


@pytest.fixture
def sampler(cache, labels):
    return MouthSampler(FrameCache(cache, "train"), labels, stills=0.5)


def test_a_batch_has_its_shapes_and_references_are_of_the_same_person(sampler):
    batch = sampler.draw(6, 3, seed=1)
    assert batch.warped.shape == batch.target.shape == (6, 3, 128, 128)
    assert batch.patches.shape == (6, 3, 3, 128, 128) and batch.patch_landmarks.shape == (6, 3, 468, 3)
    assert batch.motion.shape == (6, 20) and batch.patch_motion.shape == (6, 3, 20)
    assert max(x.abs().max() for x in (batch.warped, batch.target, batch.patches)) <= 1.001
    cache = sampler.cache
    for _ in range(20):
        target, numbers = sampler._frames(np.random.default_rng(_), 2, neighbours=False)
        assert (cache.identity[numbers] == cache.identity[target]).all() and target not in numbers


def test_references_of_a_clip_are_a_second_away_where_it_is_long_enough(cache, labels):
    frames = FrameCache(cache, "train")
    frames.clip[:8], frames.identity[:8] = 0, 0  # one clip of 8 frames, 10 apart
    frames.frame = np.arange(10) * 10
    sampler = MouthSampler(frames, labels)
    far = []
    for seed in range(60):
        target, numbers = sampler._frames(np.random.default_rng(seed), 1, neighbours=False)
        far.append(abs(frames.frame[target] - frames.frame[numbers[0]]) >= APART)
    assert np.mean(far) > 0.75


def test_neighbours_share_their_references_and_what_they_are_shown_by(sampler):
    sampler.cache.frame[:] = np.arange(10) * 2
    batch = sampler.draw(3, 2, seed=0, neighbours=True)
    assert batch.neighbours and batch.target.shape[0] == 6
    assert torch.equal(batch.patches[:3], batch.patches[3:])
    assert not torch.equal(batch.target[:3], batch.target[3:])


def test_single_references_are_animated_stills_now_and_then(sampler):
    torch.manual_seed(0)
    sampler.stills = 0.7
    batch = sampler.draw(8, 1, seed=3)
    stills = np.isin(batch.landmarks[:, 0, 0].numpy(), sampler.cache.landmarks[8:, 0, 0])
    moved = (batch.landmarks - batch.patch_landmarks[:, 0]).norm(dim=-1).mean(1)
    assert 0 < stills.sum() < 8 and moved[torch.from_numpy(stills)].min() > 4e-3  # the error alone is .003


def test_colours_change_alike_in_target_portrait_and_references(sampler):
    batch = sampler.draw(2, 2, seed=0)
    for field in (batch.target, batch.warped):
        field.fill_(0.2)
    batch.patches.fill_(0.2)
    torch.manual_seed(4)
    change_colours(batch, 0.5)
    assert (batch.target - batch.warped).abs().max() < 0.1 and (batch.patches - batch.target[:, None]).abs().max() < 0.1
    assert (batch.target - 0.2).abs().mean() > 0.01
