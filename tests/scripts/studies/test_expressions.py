"""Agreement of named expressions with landmarks: of codes that say what the landmarks show, and of others."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker import pipeline
from scripts.studies import expressions


@pytest.fixture(scope="module")
def model():
    return pipeline.load("lite", "cpu").model


def clip_of(model, codes):
    """A clip of frontal landmarks under codes, whose frames are numbers."""
    space = model.space
    shape = space.canonical + (codes[:, 6:] @ space.directions.T).reshape(len(codes), -1, 3)
    landmarks = (0.5 * shape + torch.tensor([0.5, 0.4, 0.0])).numpy()
    numbers = np.arange(len(codes))
    return SimpleNamespace(spread=lambda count: (numbers, numbers, landmarks))


def test_agreement_is_one_for_codes_that_say_what_is_seen(model, monkeypatch):
    torch.manual_seed(0)
    codes = torch.cat([torch.zeros(30, 6), 0.5 * torch.randn(30, 14) * model.space.motion_std[6:]], 1)
    other = codes[torch.randperm(30)]
    for read, low, high in ((codes, 0.9, 1.01), (other, -0.6, 0.6)):
        monkeypatch.setattr(model, "read_codes", lambda picture, read=read: (read[int(picture)][None], None), False)
        scores = expressions.agreement(model, clip_of(model, codes))
        assert {"smile", "jaw_open", "brow_raise"} <= set(scores)
        assert all(low < correlation < high for correlation, _ in scores.values()), scores
    text = expressions.report({"a": [scores], "b": [{}]})
    assert text.count("\n") == 11 and "| smile | 1 |" in text
