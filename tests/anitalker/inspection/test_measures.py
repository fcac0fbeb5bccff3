"""Stages, effects, maps, attention and ascent on cases whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anitalker.faces.landmarks import LIPS, from_canonical
from anitalker.inspection import attention, effects, maps, maximise, stages
from anitalker.motion.transformer import Attention, rotary_table


class Known:
    """Three stages of four numbers; the head is linear but for a square."""

    std = torch.ones(2)

    def weights(self):
        return torch.tensor([0.5, 0.3, 0.2])

    def head(self, code):
        return torch.stack([code[:, 0] + 2 * code[:, 1], code[:, 2] ** 2], 1)


def test_contributions_add_up_and_go_to_the_right_stage():
    torch.manual_seed(0)
    codes, reference = torch.randn(5, 3, 4), torch.zeros(3, 4)
    contributions = stages.contributions(Known(), codes, reference)
    whole = Known().head((codes * Known().weights()[:, None]).sum(1))
    assert contributions.shape == (5, 3, 2) and torch.allclose(contributions.sum(1), whole, atol=1e-4)
    codes[:, 1:] = 0  # only the first stage says anything
    contributions = stages.contributions(Known(), codes, reference)
    assert contributions[:, 1:].abs().max() < 1e-6 < contributions[:, 0].abs().max()


def test_variation_is_given_to_the_stage_that_varies():
    parts = torch.zeros(40, 3, 2)
    parts[:, 0, 0], parts[:, 2, 1] = torch.randn(40), torch.randn(40)
    parts[:, 1] = 7.0  # constant: no variation
    share = stages.shares_of_variation(parts)
    assert torch.allclose(share, torch.tensor([[1.0, 0], [0, 0], [0, 1.0]]), atol=1e-5)


def test_a_probe_reads_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 12))
    assert stages.probe(features, features @ rng.normal(size=12)) > 0.95
    assert stages.probe(features, rng.normal(size=80)) < 0.2


def turned(face, **angles):
    pose = torch.tensor([[angles.get("yaw", 0.0), 0, angles.get("roll", 0.0), 0, 0, -0.5]])
    return from_canonical(face[None], pose)[0]


@pytest.mark.parametrize(("angles", "name"), [({"yaw": 0.15}, "yaw"), ({"roll": 0.15}, "roll")])
def test_a_turn_is_pose(face, angles, name):
    low, high = (turned(face, **{key: sign * value for key, value in angles.items()}) for sign in (-1, 1))
    effect = effects.measure_effect(turned(face), low, high)
    assert effect.group == "pose" and effect.lips < 0.3
    assert getattr(effect, name) == pytest.approx(np.degrees(0.3), rel=0.05)


@pytest.mark.parametrize(("points", "group"), [(sorted(set(LIPS)), "lips"), (list(effects.LID_POINTS), "eyes")])
def test_moved_points_name_the_group(face, points, group):
    low, high = face.clone(), face.clone()
    high[points, 1] += 0.02
    ends = [from_canonical(shape[None], torch.tensor([[0.1, 0, 0.1, 0, 0, -0.5]]))[0] for shape in (low, high)]
    effect = effects.measure_effect(turned(face), *ends)
    assert effect.group == group and max(effect.lips, effect.lids) == pytest.approx(2, rel=0.1)
    assert effect.head < 0.5
    assert effects.measure_effect(turned(face), ends[0], ends[0]).group == "none"


def test_agreement_leaves_out_numbers_of_pose(face):
    effect = effects.measure_effect(turned(face), turned(face), turned(face))
    predicted = [
        replace(effect, group=g, lips=x, lids=y) for g, x, y in (("lips", 3.0, 1.0), ("eyes", 1.0, 2.0), ("pose", 9, 9))
    ]
    measured = [
        replace(predicted[0], lips=2.0),
        replace(predicted[1], group="lips", lids=0.5),
        replace(predicted[2], lips=0.0, lids=0.0),
    ]
    words = effects.describe_agreement(measured, predicted)
    assert "over the 2 numbers of expression 1.00 for lips and -1.00 for lids; 2 of 3 numbers" in words


def test_neighbours_leave_out_what_is_near_in_time():
    codes = np.arange(20, dtype=float)[:, None] * [1.0, 0.5]
    indices, distances = maps.nearest_neighbours(codes, [10], 4)
    assert sorted(indices[0]) == [8, 9, 11, 12] and distances[0][0] == pytest.approx(np.hypot(1, 0.5))
    indices, _ = maps.nearest_neighbours(codes, [10], 4, min_gap=3)
    assert sorted(indices[0]) == [5, 6, 14, 15]


def test_flat_maps_keep_two_groups_apart():
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.normal(0, 0.1, (12, 5)), rng.normal(3, 0.1, (12, 5))])
    projections = maps.project_to_plane(codes)
    assert set(projections) == {"PCA", "t-SNE"} and set(maps.project_to_plane(codes[:5])) == {"PCA"}
    for points, note in projections.values():
        assert points.shape == (24, 2) and note
        gap = np.linalg.norm(points[:12].mean(0) - points[12:].mean(0))
        assert gap > 2 * max(points[:12].std(0).max(), points[12:].std(0).max())
    assert {n // 12 for n in maps.farthest_points(codes, 2)} == {0, 1}


class Spots:
    """A view whose one stage is the brightness of each 8x8 block, and a channel of nothing."""

    def pyramid(self, images):
        bright = F.avg_pool2d(images.mean(1, keepdim=True), 8)
        return [torch.cat([torch.zeros_like(bright), bright], 1)]


def test_strongest_patches_are_cut_where_the_channel_is_strongest():
    pictures = torch.full((3, 3, 64, 64), -1.0)
    for number, (y, x) in enumerate([(8, 8), (40, 48), (24, 0)]):
        pictures[number, :, y : y + 8, x : x + 8] = 1.0 - 0.2 * number
    channel, patches, values = maps.strongest_patches(Spots(), pictures, 0, None)
    assert channel == 1 and values == pytest.approx([1.0, 0.8, 0.6], abs=1e-5)
    assert all(patch.max() > 0.79 for patch in patches) and patches.shape[0] == 3


def test_attention_weights_are_recorded():
    torch.manual_seed(0)
    layer, x = Attention(16, 2).eval(), torch.randn(1, 12, 16)
    recorder = attention.AttentionRecorder()
    with torch.no_grad(), recorder:
        layer(x, rotary_table(12, 8, x.device))
        nn.functional.softmax(torch.randn(1, 2, 12, 12), -1)  # the other spelling
        torch.randn(1, 2, 4, 4).softmax(-1)  # too small to be time
    assert [weights.shape for weights in recorder.maps] == [(2, 12, 12)] * 2
    assert torch.allclose(recorder.maps[0].sum(-1), torch.ones(2, 12), atol=1e-5)
    assert len(attention.first_pass(recorder.maps, 2)) == 1
    near = torch.eye(12)[None]
    assert attention.local_share(near, 0) == pytest.approx(1) and attention.local_share(near.roll(3, 2), 1) < 0.2
    profile = attention.distance_profile(torch.eye(12).roll(-2, 1)[None], 3)  # all look two frames back
    assert profile.shape == (1, 7) and int(profile[0].argmax()) == 1


def test_ascent_raises_each_number_by_changing_its_own_half():
    def halves(pictures):
        return torch.stack([pictures[..., :16].mean((1, 2, 3)), pictures[..., 16:].mean((1, 2, 3))], 1)

    pictures, gains = maximise.maximise(halves, torch.zeros(1, 3, 32, 32), [0, 1], torch.tensor([0.1, 0.1]), steps=4)
    assert (gains > 0.2).all() and pictures.abs().max() <= 1
    change = pictures.abs().mean(1)
    assert change[0, :, 2:12].mean() > 3 * change[0, :, 20:30].mean()
    _, lowered = maximise.maximise(halves, torch.zeros(1, 3, 32, 32), [0], torch.tensor([0.1, 0.1]), -1.0, 4)
    assert lowered[0] < -0.2
