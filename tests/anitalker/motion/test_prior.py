"""The prior: exact likelihoods, samples, rejection with a reason; the shipped prior on a picture."""

import math

import numpy as np
import pytest
import torch

from anitalker.motion.prior import REASONS, SCORES, MotionPrior, broadcast, space_hash
from anitalker.network_config import MotionPriorConfig

SMALL = MotionPriorConfig(motion_size=4, steps=1, layers=1, hidden=8, bins=4, code_size=6, directions=2)


@pytest.fixture
def prior():
    torch.manual_seed(0)
    prior = MotionPrior(SMALL).eval()
    prior.motion_mean.copy_(torch.tensor([1.0, -2.0, 0.0, 3.0]))
    prior.motion_std.copy_(torch.tensor([0.5, 2.0, 1.0, 0.1]))
    return prior


def test_the_likelihood_is_a_density(prior):
    """Importance sampling of the integral over all motions gives 1."""
    wide = torch.distributions.Normal(prior.motion_mean, 1.5 * prior.motion_std)
    x = wide.sample((40_000,))
    with torch.no_grad():
        weight = (prior.log_prob(x) - wide.log_prob(x).sum(-1)).exp()
    assert float(weight.mean()) == pytest.approx(1, abs=0.06)


def test_broadcasting_is_zukos(prior):
    import zuko

    tensors = torch.rand(2, 1, 5, 1), torch.rand(4, 1, 7), torch.rand(7)
    for mine, theirs in zip(broadcast(*tensors, ignore=1), zuko.utils.broadcast(*tensors, ignore=1), strict=True):
        assert torch.equal(mine, theirs)
    assert zuko.transforms.broadcast is broadcast, "zuko has another name for it: a portrait loads sympy again"


def test_appearance_is_the_gaussian_that_it_says():
    torch.manual_seed(0)
    prior = MotionPrior(SMALL)
    prior.directions.copy_(torch.linalg.qr(torch.randn(6, 6))[0][:2])
    prior.variances.copy_(torch.tensor([4.0, 2.0]))
    prior.noise.fill_(0.3)
    rest = torch.eye(6) - prior.directions.T @ prior.directions
    covariance = prior.directions.T @ torch.diag(prior.variances) @ prior.directions + 0.3 * rest
    code = torch.randn(5, 6)
    expected = torch.distributions.MultivariateNormal(torch.zeros(6), covariance).log_prob(code)
    torch.testing.assert_close(prior.appearance_log_prob(code), expected, atol=1e-3, rtol=1e-4)


def test_idle_motion_is_likely_and_repeats(prior):
    first, again = (prior.sample(200, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (200, 4)
    calm = prior.sample(200, torch.Generator().manual_seed(3), temperature=0.3)
    with torch.no_grad():
        assert prior.log_prob(calm).mean() > prior.log_prob(first).mean() + 0.5


def test_a_rejection_names_the_worst_score(prior):
    prior.middle.copy_(torch.tensor([10.0, 10.0, 3.0, 5.0]))
    prior.limits.copy_(torch.tensor([3.0, 6.0]))
    usual = prior.middle.clone()
    assert prior.rejection(usual) is None and prior.rejection(usual + 100) is None  # better than usual is no reason
    for n, name in enumerate(SCORES):
        odd = usual.clone()
        odd[n] -= 4
        assert prior.rejection(odd) == (False, REASONS[name])
        odd[n] -= 4
        assert prior.rejection(odd) == (True, REASONS[name])
    assert prior.rejection(torch.tensor([math.nan, 10.0, 3.0, 5.0])) == (True, REASONS["motion"])


def test_a_prior_belongs_to_one_space():
    tensors = {"a": torch.ones(3), "b": torch.zeros(2)}
    assert space_hash(tensors) == space_hash(dict(reversed(tensors.items())))
    assert space_hash(tensors) != space_hash({**tensors, "a": torch.tensor([1.0, 1.0, 1.1])})


@pytest.mark.slow
def test_the_shipped_prior_on_the_example(example_portrait):
    """The example is a usual face; a stretched copy of it is not."""
    from PIL import Image

    from anitalker import pipeline
    from anitalker.faces.crop import crop_face
    from anitalker.motion.prior import landmark_residual

    talker = pipeline.load("lite", "cpu")
    assert talker.model.prior is not None, "the shipped prior was trained beside another motion space: train it again"
    prior, finder, picture = (
        talker.model.prior,
        talker.finder(),
        np.asarray(Image.open(example_portrait).convert("RGB")),
    )

    def rejection(pixels):
        face = finder.find(pixels)[0]
        crop = crop_face(pixels, face)
        codes = talker.model.prepare(pixels, crop).codes
        residual = landmark_residual(finder, crop)
        scores = prior.plausibility_scores(codes.motion, codes.appearance, face.score, residual)
        return prior.rejection(scores)

    assert rejection(picture) is None
    stretched = np.asarray(Image.fromarray(picture).resize((picture.shape[1] * 2, picture.shape[0])))
    assert not finder.find(stretched) or rejection(stretched) is not None
