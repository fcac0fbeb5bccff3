"""Landmark geometry: inverse pairs, known poses, openings, the One-Euro filter, contour maps."""

import numpy as np
import pytest
import torch

from anitalker.faces.landmarks import (
    INNER_LIPS,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_EYE,
    OneEuro,
    eye_opening,
    face_height,
    fit_pose,
    from_canonical,
    level_depth,
    lip_opening,
    rasterise,
    resolve_crossed_pairs,
    to_canonical,
)


def poses(count):
    spread = torch.tensor([0.4, 0.3, 0.3, 0.1, 0.1, 0.2])
    return (torch.rand(count, 6) * 2 - 1) * spread - torch.tensor([0, 0, 0, 0, 0, 0.6])


def test_canonical_and_back_is_the_identity(face):
    pose = poses(8)
    placed = from_canonical(face.expand(8, -1, -1), pose)
    assert torch.allclose(to_canonical(placed, pose), face.expand(8, -1, -1), atol=1e-5)


def test_rigid_fit_recovers_the_pose(face):
    pose = poses(16)
    assert torch.allclose(fit_pose(from_canonical(face.expand(16, -1, -1), pose), face), pose, atol=1e-4)


def test_rigid_fit_does_not_depend_on_the_jaw(face):
    pose = poses(4)
    placed = from_canonical(face.expand(4, -1, -1), pose)
    placed[:, [152, 14, 17, 61, 291]] += 0.05
    assert torch.allclose(fit_pose(placed, face), pose, atol=1e-4)


def test_depth_origin_does_not_move_the_face(face):
    pose = poses(4)
    placed = from_canonical(face.expand(4, -1, -1), pose)
    shifted = placed + torch.tensor([0.0, 0.0, 0.3])
    assert torch.allclose(level_depth(shifted, pose, face), level_depth(placed, pose, face), atol=1e-5)


def test_openings_do_not_depend_on_size(face):
    small = face * 0.3
    assert torch.allclose(lip_opening(small), lip_opening(face), atol=1e-5)
    assert torch.allclose(eye_opening(small), eye_opening(face), atol=1e-5)
    assert lip_opening(face.numpy()) == pytest.approx(lip_opening(face).item(), abs=1e-5)
    assert face_height(face).item() == pytest.approx(1.0, abs=1e-4)


def test_crossed_lips_meet_and_open_lips_stay(face):
    crossed = face.clone()[None]
    crossed[0, 13, 1], crossed[0, 14, 1] = face[14, 1] + 0.02, face[14, 1] - 0.02
    assert abs(resolve_crossed_pairs(crossed)[0, 13, 1] - resolve_crossed_pairs(crossed)[0, 14, 1]) < 1e-3
    opened = face.clone()[None]
    opened[0, 14, 1] += 0.1
    assert torch.equal(resolve_crossed_pairs(opened)[0, [13, 14]], opened[0, [13, 14]])


def test_one_euro_reduces_noise_and_follows_a_jump():
    noise = np.random.default_rng(0).normal(0, 0.01, 200)
    smooth = OneEuro()
    filtered = np.array([smooth(np.array([value]))[0] for value in noise])
    assert filtered[20:].std() < 0.7 * noise[20:].std()
    smooth = OneEuro()
    jump = [smooth(np.array([value]))[0] for value in [0.0] * 10 + [1.0] * 5]
    assert jump[-1] > 0.95


def test_contour_map_has_the_area_of_its_polygon():
    ring = tuple(range(4))
    points = torch.zeros(1, 4, 2)
    points[0] = torch.tensor([[0.2, 0.25], [0.8, 0.25], [0.8, 0.5], [0.2, 0.5]])
    assert rasterise(points, (ring,), 64).mean().item() == pytest.approx(0.15, rel=0.03)
    assert rasterise(points.flip(1), (ring,), 64).mean().item() == pytest.approx(0.15, rel=0.03)


def test_contour_maps_are_the_sums_of_rays(face):
    """Edges are scanned all at once; ray by ray and edge by edge gives the same maps and the same gradient."""
    points = torch.cat([from_canonical(face[None], torch.tensor([[a, 0.1, a, 0, 0, 0.3]])) for a in (0.3, -0.2)])
    for ring, axis, place in ((RIGHT_EYE, 0, 0.0), (OUTER_LIPS, 1, 1.0), (LEFT_EYE, 1, 0.0)):  # halves lie outside
        points[1, list(ring), axis] += place - points[1, list(ring), axis].mean()
    points.requires_grad_()
    rings, weights = (OUTER_LIPS, RIGHT_EYE, LEFT_EYE, (10, 152, 10)), torch.randn(2, 4, 50, 50)
    slopes = []
    for scan in (rasterise, rays):
        maps = scan(points, rings, 50)
        slopes.append(torch.autograd.grad((maps * weights).sum(), points)[0])
        assert maps.mean((2, 3))[1, :3].min() > 0.003
    assert (rasterise(points, rings, 50) - rays(points, rings, 50)).abs().max() < 2e-5
    assert (slopes[0] - slopes[1]).abs().max() < 1e-3 * slopes[1].abs().max()


def rays(landmarks, rings, size):
    """Each edge's crossing of each pixel column, and the share of every row of pixels that lies below it."""
    centre, bottom = (torch.arange(size) + 0.5) / size, (torch.arange(size) + 1) / size
    maps = []
    for ring in rings:
        polygon = landmarks[:, list(ring), :2]
        (x0, y0), (x1, y1) = polygon.unbind(-1), polygon.roll(-1, 1).unbind(-1)
        sign = (x0[..., None] <= centre).float() - (x1[..., None] <= centre).float()
        run = torch.where(x1 == x0, torch.ones_like(x0), x1 - x0)
        crossing = y0[..., None] + (centre - x0[..., None]) * ((y1 - y0) / run)[..., None]
        below = ((bottom[:, None] - crossing[:, :, None]) * size).clamp(0, 1)
        maps.append((below * sign[:, :, None]).sum(1).abs().clamp(max=1))
    return torch.stack(maps, 1)


def test_thin_lips_are_not_lost(face):
    placed = from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))
    gap = 0.4 / 128  # less than half a pixel
    for upper, lower in (
        (13, 14),
        (82, 87),
        (81, 178),
        (80, 88),
        (191, 95),
        (312, 317),
        (311, 402),
        (310, 318),
        (415, 324),
    ):
        placed[0, lower, :2] = placed[0, upper, :2] + torch.tensor([0.0, gap])
    assert 0 < rasterise(placed, (INNER_LIPS,), 128).max() < 0.7
