"""The training loop: micro-batches add up to one step, adversaries learn in turn, scores come when they shall."""

import argparse

import pytest
import torch
from torch import nn

from scripts.training.engine import AdversarialNetwork, Engine, fit, open_run
from scripts.training.recipe import Recipe


class Line(nn.Module):
    """Fits a line, and leaves what it was shown for an adversary."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x, step):
        loss = (self.layer(x) - 3 * x).square().mean()
        return {"error": loss.detach(), "total": loss}, {"guess": (x.detach(),)}


class Guess(AdversarialNetwork):
    NAME = "guess"

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.SGD(self.parameters(), 0.1)

    def loss(self, x, step):
        loss = (self.value - x.mean()).square()
        return loss, {"guess": loss.item()}


def train(folder, reports=(), guess=None, **settings):
    torch.manual_seed(0)
    line, recipe, engine = Line(), Recipe(**{"steps": 4, "warm": 1, "score": 3, **settings}), Engine("cpu")
    optimizer = torch.optim.SGD(line.parameters(), recipe.lr)
    helpers = {} if guess is None else {Guess.NAME: guess}
    run = open_run(engine, argparse.Namespace(out=str(folder), seed=1), recipe, {"line": line}, optimizer, {}, helpers)

    def draw(step, seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(recipe.batch, 1, generator=generator)

    fit(run, engine, line, draw, lambda batch, outputs: reports.append(run.step))
    return line.layer.weight.item()


def test_micro_batches_add_up_to_one_step(tmp_path, monkeypatch):
    """Two micro-batches of the same numbers do what one does."""
    monkeypatch.setattr(Engine, "seed", lambda self, seed, step, micro_batch: step)
    unsplit = train(tmp_path / "unsplit", [], steps=2)
    assert train(tmp_path / "two", [], steps=2, accumulate=2) == pytest.approx(unsplit, abs=1e-6)


def test_every_micro_batch_of_every_step_draws_other_numbers():
    seeds = {Engine("cpu").seed(0, step, micro_batch) for step in range(3) for micro_batch in range(3)}
    assert len(seeds) == 9


def test_an_adversary_learns_in_turn_and_goes_on_after_a_restart(tmp_path):
    whole, broken, again = Guess(), Guess(), Guess()
    train(tmp_path / "whole", [], whole, steps=4)
    train(tmp_path / "broken", [], broken, steps=2)
    assert 0.05 < broken.value.item() != whole.value.item()
    train(tmp_path / "broken", [], again, steps=4)
    assert again.value.item() == pytest.approx(whole.value.item())


def test_scores_come_every_so_often_and_at_the_end(tmp_path):
    reports = []
    train(tmp_path / "a", reports)
    assert reports == [2, 3]
    train(tmp_path / "b", reports, score=0)
    assert reports == [2, 3]
