"""Idle motion: it begins at the portrait, stays likely and near, does not jump; both expressions are reached."""

import math

import numpy as np
import pytest
import torch

from anitalker.config import GAZE_SIZE, POSE_SIZE, InputError, RenderOptions
from anitalker.motion import idle
from anitalker.motion.prior import MotionPrior
from anitalker.network_config import MotionPriorConfig


@pytest.fixture
def prior():
    """An untrained flow with the spread of faces."""
    torch.manual_seed(0)
    prior = MotionPrior(MotionPriorConfig(steps=1, layers=1, hidden=8, bins=4, code_size=6, directions=2)).eval()
    prior.motion_std.fill_(0.05)
    prior.motion_mean[5] = math.log(0.55)
    return prior.requires_grad_(False)


@pytest.fixture
def start(prior):
    return prior.motion_mean[None] + 0.03 * torch.randn(1, 20, generator=torch.Generator().manual_seed(1))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_walk_has_the_spread_it_is_given_and_is_smooth():
    spread = torch.tensor([1.0, 0.3] + [0.0] * 3)
    motion = idle.smooth_random_walk(20_000, spread, rng())
    assert torch.equal(motion[0], torch.zeros(5)) and float(motion[:, 2:].abs().max()) == 0
    assert motion[:, :2].std(0).tolist() == pytest.approx([0.93, 0.28], rel=0.1)  # tanh takes some
    assert float((motion.abs() / spread.clamp(min=1e-9))[:, :2].max()) <= idle.MAX_WALK_DEVIATIONS
    speed = motion[:, 0].diff()
    assert float((speed[1:] * speed[:-1]).mean() / speed.square().mean()) > 0.8, "it trembles"


@pytest.mark.slow
def test_idling_begins_at_the_portrait_stays_near_and_repeats(prior, start):
    motion = idle.sample_idle_motion(prior, start, 500, rng())
    assert motion.shape == (500, 20) and torch.equal(motion[:1], start)
    assert torch.equal(motion, idle.sample_idle_motion(prior, start, 500, rng()))
    assert not torch.allclose(motion, idle.sample_idle_motion(prior, start, 500, rng(1)))
    assert ((motion - start)[:, :POSE_SIZE].abs() < torch.tensor(idle.MAX_POSE_CHANGE)).all()
    assert torch.allclose(idle.sample_idle_motion(prior, start, 50, rng(), temperature=0), start, atol=1e-5)
    near, far = (
        idle.sample_idle_motion(prior, start, 500, rng(), temperature).sub(start).std() for temperature in (0.5, 1.0)
    )
    assert 0.4 * far < near < 0.8 * far
    steps = (motion.diff(dim=0) / prior.motion_std).norm(dim=1)
    assert float(steps.max()) < 1 and float(steps.min()) > 0


@pytest.mark.slow
def test_idle_frames_are_as_likely_as_the_priors_own(prior, start):
    sampled = prior.log_prob(prior.sample(2000, rng()))
    motion = torch.cat([prior.log_prob(idle.sample_idle_motion(prior, start, 250, rng(n))) for n in range(4)])
    low, high = sampled.quantile(0.01), sampled.max() + 1
    assert float(((motion > low) & (motion < high)).float().mean()) > 0.98


@pytest.mark.parametrize("straight", [False, True])
def test_between_meets_both_ends_and_returns(prior, start, straight):
    a, b = start + 0.05, start - 0.08
    motion = idle.interpolate_expressions(None if straight else prior, start, a, b, 200)
    assert torch.equal(motion[:, :POSE_SIZE], start[:, :POSE_SIZE].expand(200, -1))
    for frame, end in ((0, a), (50, b), (100, a), (150, b)):
        assert torch.allclose(motion[frame, POSE_SIZE:], end[0, POSE_SIZE:], atol=1e-4)
    steps = motion.diff(dim=0).norm(dim=1)
    assert float(steps.max()) < 0.1 * float((a - b).norm())
    assert float((motion[-1] - motion[0]).norm()) < 2 * float(steps.max()), "no loop"
    if straight:
        weight = ((motion - a)[:, 10] / (b - a)[0, 10]).clamp(0, 1)
        assert torch.allclose(motion[:, 6:], a[:, 6:] + weight[:, None] * (b - a)[:, 6:], atol=1e-5)


@pytest.mark.parametrize("seconds", [math.nan, 0.0, -1.0, 0.01, 601.0, math.inf])
def test_lengths_that_are_refused(seconds):
    with pytest.raises(InputError, match=r"seconds is .*; allowed is 0.04 to 600"):
        idle.check_length(seconds)


@pytest.mark.parametrize("temperature", [math.nan, -0.1, 1.6])
def test_temperatures_that_are_refused(temperature):
    with pytest.raises(InputError, match=r"temperature is .*; allowed is 0 "):
        idle.check_length(1.0, temperature)


def test_factors_hold_what_they_name(talker, prior, picture, monkeypatch):
    """lips, head and blink at 0: nothing moves; blink alone: only what a blink moves."""
    (face,) = talker.portrait(picture).faces
    monkeypatch.setattr(talker.model, "prior", prior)

    def change(**options):
        return talker.model.idle(face, 60, RenderOptions(gaze="portrait", **options), 1.0, 3) - face.motion

    free, still = change(), change(lips=0, head=0, blink=0)
    assert free.abs().max() > 1e-3 and still.abs().max() < 1e-5
    assert change(head=0)[:, :POSE_SIZE].abs().max() < 1e-6 < free[:, :POSE_SIZE].abs().max()
    assert torch.isfinite(free).all() and free.shape == (60, 20)


@pytest.mark.slow
def test_shipped_prior_idles_like_real_clips(root):
    """True thresholds, by scripts.study measure_motion on val: steps' 99th percentiles, 1% of the likelihood."""
    from anitalker.pipeline import load

    talker = load("lite", "cpu")
    (face,) = talker.portrait(root / "app/examples/portrait.webp").faces
    for seed in range(4):
        motion = idle.sample_idle_motion(talker.model.prior, face.motion, 250, rng(seed))
        steps = (motion.diff(dim=0) / talker.model.prior.motion_std).norm(dim=1)
        turned = np.degrees((motion[1:, :3] - motion[:-1, :3]).norm(dim=1).max())
        assert float(steps.max()) < 5.81 and turned < 6.56
        assert float(talker.model.prior.log_prob(motion).quantile(0.05)) > -21.5
        assert 0.3 < float(torch.rad2deg(motion[:, :3].std(0)).max()) < 10


def seam(motion):
    """The step from the last frame to the first, and the change of step there, over the largest elsewhere."""
    looped = torch.cat([motion, motion[:2]])
    steps = looped.diff(dim=0)
    jerks = steps.diff(dim=0).norm(dim=1)
    return float(steps[-2].norm() / steps[:-2].norm(dim=1).max()), float(jerks[-2:].max() / jerks[:-2].max())


@pytest.mark.parametrize("frames", [30, 75, 400])
def test_a_walk_that_loops(frames):
    walk = idle.smooth_random_walk(frames, torch.ones(4), rng(), loop=True)
    assert walk.shape == (frames, 4) and max(seam(walk)) < 1
    speed = torch.cat([walk, walk[:1]]).diff(dim=0)
    assert float((speed[1:] * speed[:-1]).mean() / speed.square().mean()) > 0.7, "it trembles"
    spread = torch.cat([idle.smooth_random_walk(frames, torch.ones(200), rng(n), loop=True) for n in range(4)]).std()
    assert 0.8 < float(spread) < 1.3


def test_idle_motion_loops(talker, prior, picture, monkeypatch):
    """Over many seeds: the seam is a step like others."""
    (face,) = talker.portrait(picture).faces
    monkeypatch.setattr(talker.model, "prior", prior)
    for seed in range(12):
        motion = talker.model.idle(face, 80, RenderOptions(), 1.0, seed, loop=True)
        assert motion.shape == (80, 20 + GAZE_SIZE) and max(seam(motion)) < 1.2
    with pytest.raises(InputError, match="loop came with a timeline"):
        talker.model.idle(face, 80, RenderOptions(timeline="a.csv"), 1.0, 0, loop=True)


@pytest.mark.slow
def test_shipped_prior_loops(root):
    from anitalker.pipeline import load

    talker = load("lite", "cpu")
    (face,) = talker.portrait(root / "app/examples/portrait.webp").faces
    ratios = [seam(talker.model.idle(face, 100, RenderOptions(), 1.0, seed, loop=True).cpu()) for seed in range(8)]
    assert max(step for step, _ in ratios) < 1 and max(jerk for _, jerk in ratios) < 1
