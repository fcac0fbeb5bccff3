"""Hierarchical Aggregation Layer: weights, place, ablation."""

import pytest
import torch

from encoders.hal import HierarchicalAggregation

CHANNELS = (4, 8, 16)


def pyramid(batch=2):
    torch.manual_seed(0)
    return [torch.randn(batch, 4, 16, 16), torch.randn(batch, 8, 8, 8), torch.randn(batch, 16, 1, 1)]


def test_weights_add_to_one_and_half_starts_on_the_last_stage():
    _, weights = HierarchicalAggregation(CHANNELS, 16).eval()(pyramid())
    assert weights.tolist() == pytest.approx([0.25, 0.25, 0.5])


def test_code_is_the_weighted_sum_of_the_stages():
    hal, features = HierarchicalAggregation(CHANNELS, 16).eval(), pyramid()
    code, weights = hal(features)
    assert torch.allclose(code, torch.einsum("bsc,s->bc", hal.stages(features), weights), atol=1e-6)


def test_without_hal_only_the_last_stage_counts():
    hal, features = HierarchicalAggregation(CHANNELS, 16, hal=False).eval(), pyramid()
    code, weights = hal(features)
    assert weights.tolist() == [0, 0, 1] and torch.equal(code, features[-1].flatten(1))


def test_pooling_knows_where_a_feature_is():
    hal = HierarchicalAggregation(CHANNELS, 16).eval()
    left, right = pyramid(1), pyramid(1)
    left[0], right[0] = torch.zeros(1, 4, 16, 16), torch.zeros(1, 4, 16, 16)
    left[0][..., 2], right[0][..., 13] = 1, 1
    assert (hal(left)[0] - hal(right)[0]).abs().max() > 1e-2


def test_training_leaves_the_last_stage_out_now_and_then():
    hal = HierarchicalAggregation(CHANNELS, 16, drop_last=1.0).train()
    _, weights = hal(pyramid())
    assert weights[-1] == 0 and torch.isclose(weights.sum(), torch.tensor(1.0))
