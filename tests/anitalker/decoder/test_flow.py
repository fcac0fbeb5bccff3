"""Landmark flow and warping: no motion gives no flow, and moved points arrive at their targets."""

import torch

from anitalker.decoder import flow as flows
from anitalker.decoder.flow import UPPER_LIP, fold_mask, landmark_flow, resize, rigid_flow, separate_closed_pairs, warp
from anitalker.faces.landmarks import from_canonical

STRAIGHT = torch.tensor([[0.0, 0, 0, 0, 0, -0.6]])


def test_no_motion_is_no_flow(face):
    placed = from_canonical(face[None], STRAIGHT)
    assert landmark_flow(placed, placed, 32, 1e-3).abs().max() < 1e-6


def test_flow_at_a_target_landmark_points_to_its_source(face):
    source = from_canonical(face[None], STRAIGHT)
    target = from_canonical(face[None], STRAIGHT + torch.tensor([[0.1, 0.05, 0.1, 0.02, 0.01, 0.05]]))
    flow = landmark_flow(source, target, 96, 1e-3)
    for point in (1, 33, 263, 13, 61):
        x, y = (target[0, point, :2] * 96).long().tolist()
        wanted = (source - target)[0, point, :2]
        assert (flow[0, :, y, x] - wanted).norm() < 0.002


def test_picture_border_stays(face):
    source = from_canonical(face[None], STRAIGHT)
    target = from_canonical(face[None], STRAIGHT + torch.tensor([[0.0, 0, 0.2, 0.05, 0.05, 0.1]]))
    flow = resize(landmark_flow(source, target, 48, 1e-3), (256, 256))
    edge = torch.cat([flow[..., 0, :], flow[..., -1, :], flow[..., 0], flow[..., -1]], -1)
    assert edge.abs().max() < 0.5 / 256


def beside_head(flow):
    """Where a picture shows what is behind a head: the flow from 0.68 to 0.8 face heights to both sides of it."""
    return torch.cat([flow[..., 20:70, 5:12], flow[..., 20:70, -12:-5]], -1)


def test_what_is_beside_a_turning_head_stays(face):
    """Lines behind it bend by 1 to 4 of 512 pixels; without the ring of pins by 8 to 13."""
    source = from_canonical(face[None], STRAIGHT)
    for turn in ([0.2, 0, 0], [-0.2, 0, 0], [0, 0.15, 0], [0.1, 0.1, 0.05]):
        target = from_canonical(face[None], STRAIGHT + torch.tensor([[*turn, 0, 0, 0]]))
        assert beside_head(landmark_flow(source, target, 96, 1e-3)).abs().max() < 5 / 512


def test_hair_moves_with_a_head_that_moves_away(face):
    """A quarter of a face height to the side: the ring gives way, and hair moves half as far at least."""
    source = from_canonical(face[None], STRAIGHT)
    target = from_canonical(face[None], STRAIGHT + torch.tensor([[0.0, 0, 0, 0.14, 0, 0]]))
    flow = landmark_flow(source, target, 96, 1e-3)
    hair = int((0.5 + 0.14 - 0.5 * 0.55) * 96)  # half a face height behind the middle of the face
    assert flow[0, 0, 40:60, hair].max() < -0.07


def test_warp_moves_pixels_by_the_flow():
    picture = torch.zeros(1, 1, 64, 64)
    picture[0, 0, 32, 32] = 1
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, 0] = 4 / 64  # the source lies 4 pixels to the right: content moves left
    assert warp(picture, flow)[0, 0, 32, 28] > 0.99


def test_lips_that_close_do_not_tear(face):
    """Upper and lower lip come to one place: the flow must stay bounded."""
    source = from_canonical(face[None], STRAIGHT)
    source[0, 14, 1] += 0.05
    target = source.clone()
    target[0, 14, :2] = target[0, 13, :2]
    flow = landmark_flow(source, target, 96, 1e-3)
    assert flow.abs().max() < 0.08


def test_folds_are_found():
    flow = torch.zeros(1, 2, 32, 32)
    assert fold_mask(flow).sum() == 0
    x = (torch.arange(32) + 0.5) / 32
    flow[:, 0] = -2 * (x - 0.5)  # the map runs backwards
    assert fold_mask(flow).mean() == 1


def test_lower_precision_around_it_does_not_reach_the_flow(face):
    """Under autocast the interpolation once ran in bfloat16: the flow was off by pixels."""
    source = from_canonical(face[None], STRAIGHT)
    target = from_canonical(face[None], STRAIGHT + torch.tensor([[0.1, 0.05, 0.1, 0.02, 0.01, 0.05]]))
    exact = landmark_flow(source, target, 48, 1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(landmark_flow(source, target, 48, 1e-3), exact)


def test_closing_lids_compress_the_eye_into_a_line(face):
    """Both lids came to one place, neither was followed, and nobody blinked."""
    source = from_canonical(face[None], STRAIGHT)
    target = source.clone()
    upper, lower = [161, 160, 159, 158, 157], [163, 144, 145, 153, 154]
    target[0, upper, 1] = target[0, lower, 1]
    flow = resize(landmark_flow(source, target, 48, 1e-3), (256, 256))
    height = source[0, 145, 1] - source[0, 159, 1]
    x, y = (target[0, 159, :2] * 256).long().tolist()
    above = flow[0, 1, y - 3, x]  # just above the closed lids; the grid smooths half of it away
    assert above < -0.4 * height


def test_lips_that_are_shut_stay_as_they_are(face):
    source = from_canonical(face[None], STRAIGHT)
    source[0, 14] = source[0, 13]
    assert torch.equal(separate_closed_pairs(source, source.clone())[0, [13, 14]], source[0, [13, 14]])


def test_teeth_stay_with_the_skull(face):
    """If only the jaw moves, the skull's flow is zero, and what shows between the lips does not stretch."""
    face = from_canonical(face[None], STRAIGHT)
    opened = face.clone()
    opened[:, [14, 87, 317, 17, 152], 1] += 0.05
    assert rigid_flow(face, opened, 32).abs().max() < 1e-4


def test_the_skulls_flow_follows_the_head(face):
    face = from_canonical(face[None], STRAIGHT)
    turned = face.clone()
    turned[..., 0] += 0.1
    flow = rigid_flow(face, turned, 32)
    assert torch.allclose(flow[:, 0], torch.full_like(flow[:, 0], -0.1), atol=1e-4) and flow[:, 1].abs().max() < 1e-4


def test_teeth_stay_behind_a_rising_upper_lip(face):
    face = from_canonical(face[None], STRAIGHT)
    raised = face.clone()
    raised[:, list(UPPER_LIP), 1] -= 0.02
    flow = rigid_flow(face, raised, 32)
    assert torch.allclose(flow[:, 1], torch.full_like(flow[:, 1], 0.02), atol=2e-3)


def test_caches_of_a_rendering_serve_training(face):
    for kept in (flows._constants, flows._grid_axis, flows.identity_grid):
        kept.cache_clear()
    source = from_canonical(face[None], STRAIGHT)
    with torch.inference_mode():
        landmark_flow(source, source, 16, 1e-3)
    target = (source + 0.01).requires_grad_()
    landmark_flow(source, target, 16, 1e-3).square().sum().backward()
    assert target.grad.abs().sum() > 0
