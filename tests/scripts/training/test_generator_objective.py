"""Controls and losses of the motion generator."""

import numpy as np
import pytest
import torch

from anitalker.config import POSE_SIZE, GeneratorConfig
from anitalker.motion.generator import MotionGenerator
from encoders.speech import SpeechFeatures
from scripts.training.generator_objective import GeneratorObjective, MotionLoss, draw_controls
from scripts.training.motion_data import MotionExamples, load_motion
from scripts.training.motion_statistics import measure


@pytest.fixture
def clips(motion_folder):
    return load_motion(motion_folder, "train")


def test_controls_are_given_or_not_and_still_is_still():
    torch.manual_seed(0)
    motion, controls, given = draw_controls(torch.randn(200, 12, 20))
    share = given[:, 0].mean(0)
    assert ((share > 0.15) & (share < 0.5)).all()
    still = (motion[..., :POSE_SIZE] == 0).all(-1).all(-1)
    assert 5 < still.sum() < 45 and given[still].min() == 1 and controls[still].abs().max() == 0


def test_loss_of_predicting_nothing_is_of_order_one_and_bad_frames_do_not_count(motion_folder, clips):
    loss = MotionLoss(measure(motion_folder, clips))
    clean, good = torch.randn(8, 60, 20), torch.ones(8, 60)
    place = loss(torch.zeros_like(clean), clean, good)["place"]
    assert 2 < place < 4  # three terms
    good[:, 30:] = 0
    broken = clean.clone()
    broken[:, 30:] = 99
    assert all(term == 0 for term in loss(clean, broken, good).values())


def test_loss_falls_on_one_batch(motion_folder, clips):
    torch.manual_seed(0)
    space = measure(motion_folder, clips)
    statistics = {"motion_mean": tuple(space.mean), "motion_std": tuple(space.std)}
    network = MotionGenerator(GeneratorConfig(width=32, layers=1, heads=2, dropout=0.0, **statistics))
    objective, optimizer = GeneratorObjective(network, MotionLoss(space)), torch.optim.Adam(network.parameters(), 3e-3)
    batch = MotionExamples(clips, SpeechFeatures(), space.spoken).batch(8, 25, 20, 0) | {"frames": 20}
    totals = []
    for step in range(40):
        total = objective(batch, step)[0]["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert np.isfinite(totals).all() and np.mean(totals[-5:]) < 0.75 * np.mean(totals[:5])
