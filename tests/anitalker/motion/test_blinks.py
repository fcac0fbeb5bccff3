"""Blinks: how often they come, and that each has its whole course."""

from dataclasses import replace

import pytest
import torch

from anitalker.motion.blinks import MIN_INTERVAL_FRAMES, Blinks
from anitalker.network_config import GeneratorConfig


def test_blinks_come_as_often_as_asked_and_whole():
    """Ten minutes in pieces: the rate is right, none sooner than the rest allows, and each has its whole course."""
    course = torch.zeros(5, 20)
    course[:, 7] = torch.tensor([0.1, 0.5, 1.0, 0.5, 0.1])
    config = replace(GeneratorConfig(), blink=tuple(map(tuple, course.tolist())), blink_every=4.0)
    blinks = Blinks(config, torch.Generator().manual_seed(0), "cpu")
    added = torch.cat([blinks(first, 20) for first in range(0, 15_000, 20)], 1)[0]
    shut = (added[:, 7] == 1.0).nonzero()[:, 0]
    assert 110 < len(shut) < 190  # 150 expected
    assert shut[0] >= MIN_INTERVAL_FRAMES and shut.diff().min() >= MIN_INTERVAL_FRAMES
    assert added.sum() == pytest.approx(2.2 * len(shut), abs=2.2)


def test_blinks_of_a_loop_are_whole():
    """Those that its end cuts go on at its start: in some of many loops, and none is lost or doubled."""
    course = torch.zeros(5, 20)
    course[:, 7] = torch.tensor([0.1, 0.5, 1.0, 0.5, 0.1])
    config = replace(GeneratorConfig(), blink=tuple(map(tuple, course.tolist())), blink_every=2.0)
    over_the_seam = 0
    for seed in range(60):
        added = Blinks(config, torch.Generator().manual_seed(seed), "cpu").loop(70)[:, 7]
        count = round(float(added.sum()) / 2.2)
        assert float(added.sum()) == pytest.approx(2.2 * count, abs=1e-4) and int((added == 1).sum()) == count
        over_the_seam += bool(added[0])
        assert bool(added[0]) <= bool(added[-1])
    assert over_the_seam > 0
