"""The training run: exact steps, a resumed run equals an unbroken one, EMA in the exported weights."""

import json

import pytest
import torch
from safetensors import safe_open

from scripts.training.loop import Run, rate_factor, seed_all
from scripts.training.recipe import Recipe


def train(folder, stop_at, total=8):
    """A line fitted by momentum descent; stops after `stop_at` steps as if it were told to."""
    seed_all(0)
    line = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(line.parameters(), lr=0.05, momentum=0.9)
    recipe = Recipe(steps=total, warm=1, log_every=4)
    run = Run(folder, {"seed": 0, "size": 1}, {"line": line}, optimizer, recipe)
    run.resume()
    for step in run.steps():
        x = torch.rand(16, 1, generator=torch.Generator().manual_seed(step))
        loss = (line(x) - 3 * x - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss.item())
        if step + 1 == stop_at:
            run.stopping = True
    return run


def test_resumed_run_equals_an_unbroken_one(tmp_path):
    whole = train(tmp_path / "whole", stop_at=8)
    train(tmp_path / "broken", stop_at=3)
    broken = train(tmp_path / "broken", stop_at=8)
    assert broken.step == whole.step == 8
    for module in (lambda run: run.modules["line"], lambda run: run.averaged("line")):
        for expected, parameter in zip(module(whole).parameters(), module(broken).parameters(), strict=True):
            assert torch.allclose(expected, parameter, atol=1e-6)


def test_exported_weights_are_the_average_and_carry_the_config(tmp_path):
    run = train(tmp_path, stop_at=8)
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["config"])["size"] == 1
        assert torch.equal(file.get_tensor("line.weight"), run.averaged("line").weight)
        assert not torch.equal(file.get_tensor("line.weight"), run.modules["line"].weight)


def test_the_average_begins_with_the_first_weights_and_forgets_them(tmp_path):
    line = torch.nn.BatchNorm1d(1)
    run = Run(tmp_path, {}, {"line": line}, torch.optim.SGD(line.parameters(), lr=1.0), Recipe(steps=3, decay=0.5))
    expected = 1.0
    for step in run.steps():
        with torch.no_grad():
            line.weight.fill_(step + 2.0)
        line.num_batches_tracked.fill_(step + 7)
        decay = min(0.5, (2 + step) / (11 + step))
        expected = decay * expected + (1 - decay) * (step + 2.0)
    assert run.averaged("line").weight.item() == pytest.approx(expected)
    assert run.averaged("line").num_batches_tracked == 9 and not run.averaged("line").training


def test_finished_run_does_no_more_steps(tmp_path):
    train(tmp_path, stop_at=8)
    again = train(tmp_path, stop_at=8)
    assert again.step == 8 and list(again.steps()) == []


def test_learning_rate_warms_up_and_ends_low():
    cosine = [rate_factor(step, Recipe(steps=1000, warm=100)) for step in range(1000)]
    assert cosine[0] == pytest.approx(0.01) and max(cosine) == pytest.approx(1.0)
    assert cosine[-1] < 0.03 and cosine[500] > cosine[900]
