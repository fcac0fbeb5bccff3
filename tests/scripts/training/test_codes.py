"""The codes stage: its loss falls."""

import numpy as np
import pytest
import torch

from anitalker.motion.motion_space import MotionSpace
from anitalker.network_config import MotionSpaceConfig
from scripts.training.codes import CodesObjective, start_from_labels
from scripts.training.data import FrameCache
from scripts.training.pairs import PairSampler
from scripts.training.presets import Codes


@pytest.mark.slow
def test_codes_loss_falls_on_a_repeated_batch(cache, labels):
    data = FrameCache(cache, "train")
    space = MotionSpace(MotionSpaceConfig())
    start_from_labels(space, labels, data)
    objective = CodesObjective(space, Codes(mutual=0.0), 4)
    pairs = PairSampler(data, labels, stills=0.0).draw(4)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    values = []
    for step in range(20):
        losses, _ = objective(pairs, step)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        values.append(losses["total"].item())
    assert np.isfinite(values).all() and np.mean(values[-3:]) < 0.8 * np.mean(values[:3])
