"""The short training of the mouth: it learns, it can be broken off, and it never makes the tail worse."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker.decoder.mouth import MouthSynthesizer
from anitalker.decoder.mouth_adapters import tuned_keys
from anitalker.network_config import MouthConfig
from anitalker.person import mouth_tuning
from anitalker.person.mouth_tuning import MouthLoss, MouthTargets, tune_mouth
from encoders.image import build_encoder

TAIL = np.array([False] * 6 + [True] * 2)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MouthSynthesizer(MouthConfig(channels=(8, 8, 8), values=4, keys=4)).eval().requires_grad_(False)


@pytest.fixture
def loss():
    torch.manual_seed(1)
    return MouthLoss(build_encoder("lia", (8, 8, 8, 8, 8, 8), ""))


@pytest.fixture
def targets():
    """A grey mouth that shall become red, and what stands for the lips in the middle."""
    warped = torch.full((8, 128, 128, 3), 128, dtype=torch.uint8)
    target = warped.clone()
    target[:, 40:90, 40:90] = torch.tensor([220, 60, 60], dtype=torch.uint8)
    contours = torch.zeros(8, 128, 128, 3, dtype=torch.uint8)
    contours[:, 40:90, 40:90, :2] = 255
    contours[..., 2] = 255 - contours[..., 0]
    torch.manual_seed(2)
    seen, values = torch.randn(8, 8, 32, 32).half(), torch.randn(8, 4, 32, 32).half()
    return MouthTargets(warped, target, warped, contours, torch.zeros(8, 20), seen, values, torch.zeros(8, 5))


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock takes a tenth of a second."""
    times = itertools.count()
    monkeypatch.setattr(mouth_tuning, "time", SimpleNamespace(monotonic=lambda: next(times) / 10))


@pytest.mark.slow
def test_it_learns_and_changes_the_last_layers_alone(network, loss, targets, monkeypatch, clock):
    monkeypatch.setattr(mouth_tuning, "SCORE_EVERY", 5)
    monkeypatch.setattr(mouth_tuning, "LEARNING_RATE", 1e-2)
    monkeypatch.setattr(mouth_tuning, "AVERAGING", 0.5)
    told = []
    before = {key: value.clone() for key, value in network.state_dict().items()}
    result = tune_mouth(network, loss, targets, TAIL, 1.5, progress=lambda *step: told.append(step))
    assert result.after < 0.95 * result.before and result.finished and result.steps == 14
    assert set(result.changes) == set(tuned_keys(network))
    assert {change.dtype for change in result.changes.values()} == {torch.float16}
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert told[0][0] == "tuning" and told[-1] == ("tuning", 1, 1)


@pytest.mark.slow
def test_a_break_keeps_the_best_so_far(network, loss, targets, monkeypatch):
    monkeypatch.setattr(mouth_tuning, "SCORE_EVERY", 2)
    monkeypatch.setattr(mouth_tuning, "LEARNING_RATE", 1e-2)
    monkeypatch.setattr(mouth_tuning, "AVERAGING", 0.0)
    calls = []

    def interrupt(*_):
        calls.append(0)
        if len(calls) == 8:
            raise KeyboardInterrupt

    result = tune_mouth(network, loss, targets, TAIL, 100, progress=interrupt)
    assert not result.finished and result.steps == 8 and result.changes and result.after < result.before
    further = tune_mouth(network, loss, targets, TAIL, 0, start=result.changes)
    assert further.after == pytest.approx(result.after, rel=1e-2) and further.changes


def test_what_does_not_help_is_dropped(network, loss, targets, monkeypatch):
    monkeypatch.setattr(mouth_tuning, "SCORE_EVERY", 1)
    monkeypatch.setattr(mouth_tuning, "PATIENCE", 2)
    monkeypatch.setattr(mouth_tuning, "LEARNING_RATE", 10.0)
    result = tune_mouth(network, loss, targets, TAIL, 100)
    assert result.changes == {} and result.after == result.before and result.steps < 20
