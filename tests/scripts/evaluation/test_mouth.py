"""The suite `mouth`: which frames are references and which are scored, and how rows become figures."""

import numpy as np
import pytest
import torch

from scripts.evaluation.mouth import COUNTS, choose_frames, summary


@pytest.mark.parametrize("count", [100, 137, 400])
def test_references_are_of_the_first_third_and_a_second_away(count):
    references, picks = choose_frames(count)
    assert len(set(references.tolist())) == max(COUNTS.values()) and references[0] == 0
    assert references.max() <= count / 3 + 1 and np.ptp(references[:4]) > count / 4
    assert picks.min() >= count // 2 and picks.max() < count and picks.min() - references.max() >= 24


def test_a_clip_under_four_seconds_is_left_out():
    assert choose_frames(99) is None


def test_rows_are_means_over_clips_and_distances_also_over_the_warps():
    torch.manual_seed(0)
    truth = torch.randn(80, 40)
    rows = {"warp": [{"perceptual": 1.0}, {"perceptual": 3.0, "shut": 4.0}], "one": [{"perceptual": 1.0}] * 2}
    features = {"truth": [truth], "warp": [truth + 2], "one": [truth.clone()]}
    report = summary(rows | {"truth": [{"perceptual": 0.0}]}, features)
    assert set(report) == {"warp", "one"} and report["warp"]["shut"] == 4.0
    assert report["warp"]["perceptual_ratio"] == 1.0 and report["one"]["perceptual_ratio"] == 0.5
    assert report["one"]["frechet"] < 1e-3 < 1 < report["warp"]["frechet"]
