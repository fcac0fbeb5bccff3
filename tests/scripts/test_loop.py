"""The training loop: exact steps, a resumed run equals an unbroken one, EMA in the exported weights."""

import json

import pytest
import torch
from safetensors import safe_open

from scripts.training.loop import Run, schedule, seed_all


def train(folder, stop_at, total=8):
    """A line fitted by momentum descent; stops after `stop_at` steps as if it were told to."""
    seed_all(0)
    line = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(line.parameters(), lr=0.05, momentum=0.9)
    run = Run(folder, {"seed": 0, "size": 1}, {"line": line}, optimizer, total, log_every=4)
    run.resume()
    for step in run.steps():
        x = torch.rand(16, 1)
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
    for name, tensor in whole.average.items():
        assert torch.allclose(tensor, broken.average[name], atol=1e-6), name
    assert torch.allclose(whole.modules["line"].weight, broken.modules["line"].weight, atol=1e-6)


def test_exported_weights_are_the_average_and_carry_the_config(tmp_path):
    run = train(tmp_path, stop_at=8)
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["config"])["size"] == 1
        assert torch.equal(file.get_tensor("line.weight"), run.average["line.weight"])
        assert not torch.equal(file.get_tensor("line.weight"), run.modules["line"].weight)


def test_finished_run_does_no_more_steps(tmp_path):
    train(tmp_path, stop_at=8)
    again = train(tmp_path, stop_at=8)
    assert again.step == 8 and list(again.steps()) == []


def test_schedule_warms_up_and_ends_low():
    factors = [schedule(step, 1000, warm=100) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01) and max(factors) == pytest.approx(1.0)
    assert factors[-1] < 0.03 and factors[500] > factors[900]
