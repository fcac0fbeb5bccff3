"""Metric learning and the bound of mutual information, by hand and on made-up codes."""

import math

import pytest
import torch
from torch.nn import functional as F

from scripts.training.engine import Engine
from scripts.training.presets import Pixels
from scripts.training.separation import AngularMargin, MutualInformation, SeparationTerms, Triplet


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_margin_asks_for_a_smaller_angle():
    """Two people at right angles, a code 30 degrees from its own: equation 3 of ArcFace by hand."""
    loss = AngularMargin(2, 2, scale=4.0, margin=0.3)
    loss.weight.data = torch.eye(2)
    angle = math.radians(30)
    code = 5 * torch.tensor([[math.cos(angle), math.sin(angle)]])  # any length
    own, other = 4 * math.cos(angle + 0.3), 4 * math.cos(math.radians(60))
    expected = -own + math.log(math.exp(own) + math.exp(other))
    assert loss(code, torch.tensor([0])).item() == pytest.approx(expected, abs=1e-5)
    loss.margin = 0.0
    assert loss(code, torch.tensor([0])).item() < expected


def test_triplet_takes_the_nearest_stranger():
    code = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.2, 1.0]]), dim=1)
    person = torch.tensor([0, 1, 0, 1])
    assert Triplet(margin=0.3)(code, person) == 0
    wide = Triplet(margin=2.0)(code, person)
    near = (code[0] - code[2]).square().sum(), (code[1] - code[3]).square().sum()
    far = (code[0] - code[3]).square().sum(), (code[1] - code[3]).square().sum() * 0
    assert wide > 0 and near[0] < far[0]
    assert Triplet()(code, torch.zeros(4, dtype=torch.long)) == 0  # nobody else in the batch


def learned_bound(draw):
    density, engine = MutualInformation(3, 2, hidden=32, rate=2e-2), Engine("cpu")
    for step in range(50):  # fresh codes each time, as in a training: repeated ones would be learned by heart
        loss, numbers = density.loss(*draw(), step=step)
        loss.backward()
        density.update(engine)
    assert math.isfinite(numbers["density"])
    return density.bound(*draw()).item()


def test_bound_of_mutual_information_tells_dependent_from_independent_codes():
    def alone():
        return torch.randn(128, 3), torch.randn(128, 2)

    def told():
        identity = torch.randn(128, 3)
        return identity, identity[:, :2] + 0.5 * torch.randn(128, 2)

    true = 2 * 0.5 * math.log(1 + 1 / 0.25)  # nats of two Gaussian channels
    assert learned_bound(alone) < 0.3 and learned_bound(told) > true


def test_lowering_the_bound_moves_the_codes_and_not_the_density():
    identity = torch.randn(64, 3)
    motion = torch.nn.Parameter(identity[:, :2] + 0.3 * torch.randn(64, 2))
    density = MutualInformation(3, 2, hidden=16)
    density.bound(identity, motion).backward()
    assert motion.grad.abs().sum() > 0 and all(p.grad is None for p in density.parameters())
    assert density.bound(identity, motion).item() == pytest.approx(density.bound(identity, 9 * motion).item(), abs=1e-4)


def test_terms_are_those_that_the_recipe_weighs():
    person, codes, motion = torch.arange(4), torch.randn(8, 6), torch.randn(8, 3)
    terms, left = SeparationTerms(Pixels(identity=0.1, mutual=0.1), 4, 6, 3)(codes, motion, person)
    assert set(terms) == {"identity", "mutual"} and set(left) == {"density"}
    assert SeparationTerms(Pixels(metric="none", mutual=0.0), 4, 6, 3)(codes, motion, person) == ({}, {})
