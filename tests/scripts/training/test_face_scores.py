"""Average precision by hand."""

import numpy as np
import pytest
import torch

from scripts.training import face_scores


def test_average_precision_by_hand():
    assert face_scores.average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]), 2) == pytest.approx(
        0.5 + 0.5 * 2 / 3
    )
    truth = torch.tensor([[0.0, 0, 10, 10]])
    detected = torch.tensor([[0.0, 0, 10, 9], [0, 0, 9, 10], [50, 50, 60, 60]])
    assert face_scores.claim(detected, truth) == [True, False, False]
    assert face_scores.claim(detected, torch.zeros(0, 4)) == [False, False, False]
