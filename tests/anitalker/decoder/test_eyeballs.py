"""Irises go where the eyes look, whatever the head does; lids go with them; discs stay discs."""

import math

import numpy as np
import pytest
import torch

from anitalker.config import CROP
from anitalker.decoder.eyeballs import ORBIT, eye_geometry, look, moved_eyes
from anitalker.decoder.eyelids import eye_axes, eyelid_samples, warp_eyelids
from anitalker.decoder.iris import PATCH, IrisNetwork, IrisPlaces, eye_patches
from anitalker.decoder.iris_shift import MAX_SHIFT, Irises, Look, bounded
from anitalker.decoder.viewport import Viewport
from anitalker.faces.landmarks import LEFT_EYE, RIGHT_EYE, from_canonical, rasterise
from anitalker.network_config import IrisConfig

FRONT = (0.0, 0.0, 0.0, 0.0, 0.0, -0.6)
RADIUS = 0.2


def placed(face, pose=FRONT):
    return from_canonical(face[None], torch.tensor([pose])), torch.tensor([pose])


def places(a=0.5, b=-0.05):
    centre = torch.tensor([[[a, b], [a, b]]])
    return IrisPlaces(centre, torch.full((1, 2), RADIUS), torch.zeros(1, 2))


def toward(across, up, share=1.0):
    return torch.tensor([[math.radians(across), math.radians(up), share]])


def seen(eyes, points, pose, portrait, gaze):
    """The irises in crop widths from their outer corners, [E,2]."""
    moved, irises = look(eyes, portrait, points, pose, gaze)
    axes = eye_axes(points[..., :2])[1]
    return (irises.place[:, :, None] @ axes)[0, :, 0], irises, moved


def test_a_portrait_that_looks_where_it_looks_does_not_change(face):
    for pose in (FRONT, (0.3, -0.1, 0.2, 0.05, 0.02, -0.5)):
        for a in (0.35, 0.5):
            points, angles = placed(face, pose)
            eyes = eye_geometry(places(a), points, angles)
            gaze = torch.cat([eyes.own, torch.ones(1, 1)], 1)
            _, irises, moved = seen(eyes, points, angles, points, gaze)
            torch.testing.assert_close(irises.place, eyes.centre, atol=1e-4, rtol=0)
            torch.testing.assert_close(moved, points, atol=1e-5, rtol=0)


def test_directions_are_those_of_the_picture(face):
    points, pose = placed(face)
    eyes = eye_geometry(places(), points, pose)
    middle, right, up = (seen(eyes, points, pose, points, toward(*to))[0] for to in ((0, 0), (10, 0), (0, 10)))
    step = ORBIT * float(eyes.orbit) / ORBIT * math.exp(FRONT[5]) * math.sin(math.radians(10))
    torch.testing.assert_close(right - middle, torch.tensor([[step, 0.0]]).expand(2, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(up - middle, torch.tensor([[0.0, -step]]).expand(2, -1), atol=1e-5, rtol=0)
    assert 0.05 < step / float(eye_axes(points[..., :2])[1][0, 0, 0].norm()) < 0.08  # of an eye's width


def test_eyes_stay_on_the_camera_while_the_head_turns(face):
    points, pose = placed(face)
    eyes = eye_geometry(places(), points, pose)
    straight = seen(eyes, points, pose, points, toward(0, 0))[1].place
    turned_points, turned_pose = placed(face, (math.radians(15), 0.0, 0.0, 0.0, 0.0, -0.6))
    nose, before = turned_points[0, 1, 0], points[0, 1, 0]
    turned = seen(eyes, turned_points, turned_pose, points, toward(0, 0))[1].place
    way = turned[0, :, 0] - straight[0, :, 0]  # inward is to the right for the right eye, to the left for the left one
    assert nose < before and way[0] > 0.03 and way[1] < -0.03
    half = seen(eyes, turned_points, turned_pose, points, toward(0, 0, 0.5))[1]
    assert float(half.share) == 0.5


def test_a_portrait_that_looks_aside_can_look_at_the_camera(face):
    points, pose = placed(face)
    centre = torch.tensor([[[0.6, -0.07], [0.4, -0.07]]])  # both to the right of the picture
    eyes = eye_geometry(IrisPlaces(centre, torch.full((1, 2), RADIUS), torch.zeros(1, 2)), points, pose)
    across, up = torch.rad2deg(eyes.own[0])
    assert 12 < across < 22 and abs(up) < 4
    place = seen(eyes, points, pose, points, toward(0, 0))[1].place[0]
    assert place[0, 0] < 0.55 and place[1, 0] > 0.45


def test_lids_go_with_the_irises_and_shut_lids_stay(face):
    points, pose = placed(face)
    eyes = eye_geometry(places(), points, pose)
    for up in (-10, 10):
        moved = seen(eyes, points, pose, points, toward(0, up))[2]
        upper, lower = ((moved - points)[0, [index], 1] for index in (159, 145))
        assert (upper * -up > 0) and (lower * -up > 0) and abs(upper) > abs(lower)
        assert (moved - points)[0, [33, 133, 263, 362, 13]].abs().max() == 0
    shut = points.clone()
    for eye_upper, eye_lower in zip(
        (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155), strict=True
    ):
        shut[:, eye_upper] = shut[:, eye_lower]
    assert (seen(eyes, shut, pose, points, toward(0, -10))[2] - shut)[0, 159].abs().max() < 1e-6


def painted(points, size, centre=(0.5, -0.05)):
    """A picture of white eyes with dark discs on grey: [1,1,size,size]."""
    corner, axes = eye_axes(points[..., :2])
    y, x = torch.meshgrid(*[(torch.arange(size) + 0.5) / size] * 2, indexing="ij")
    inside = rasterise(points, (RIGHT_EYE, LEFT_EYE), size)
    picture = torch.full((1, 1, size, size), 0.3)
    for eye in range(2):
        a, b = axes[0, eye]
        iris = corner[0, eye] + centre[0] * a + centre[1] * b
        disc = ((x - iris[0]) ** 2 + (y - iris[1]) ** 2).sqrt() < RADIUS * a.norm()
        white = torch.where(disc, torch.tensor(0.0), torch.tensor(1.0))
        picture = picture + inside[:, eye : eye + 1] * (white - picture)
    return picture


def shifted(points, across, down, share=1.0):
    centre = places().centre
    radius, none = torch.full((1, 2), RADIUS), torch.zeros(1, 2)
    return Irises(centre, radius, centre + torch.tensor([across, down]), torch.tensor([share]), none)


def dark_middle(picture, points, eye=0):
    """The centre of the dark pixels of an eye, in eye widths along its axes, and their number."""
    size = picture.shape[-1]
    inside = rasterise(points, (RIGHT_EYE, LEFT_EYE), size)[0, eye] > 0.99
    rows, columns = torch.nonzero(inside & (picture[0, 0] < 0.25), as_tuple=True)
    corner, axes = eye_axes(points[..., :2])
    middle = torch.stack([columns + 0.5, rows + 0.5], -1).float().mean(0) / size - corner[0, eye]
    return axes[0, eye] @ middle / axes[0, eye, 0].square().sum(), len(rows)


@pytest.mark.parametrize("across", [-0.08, 0.08])
def test_a_disc_moves_as_it_is(face, across):
    points, _ = placed(face)
    picture, pair = painted(points, 800), torch.stack([points, points], 1)
    before, count = dark_middle(picture, points)
    drawn = warp_eyelids(picture, picture, pair, irises=shifted(points, across, 0.0))
    after, moved_count = dark_middle(drawn, points)
    assert float(after[0] - before[0]) == pytest.approx(bounded(across, MAX_SHIFT[0]), abs=0.012)
    assert moved_count == pytest.approx(count, rel=0.12)
    outside = rasterise(points, (RIGHT_EYE, LEFT_EYE), 800).sum(1, keepdim=True) < 0.01
    assert (drawn - picture).abs()[outside].max() < 0.75  # a lid's edge is a pixel wide
    assert ((drawn - picture).abs() > 0.1)[outside].float().mean() < 1e-3


def test_no_share_changes_nothing_and_both_libraries_agree(face):
    points, _ = placed(face)
    moved = points + 0.003 * torch.randn(points.shape, generator=torch.Generator().manual_seed(1))
    pair, viewport = torch.stack([points, moved], 1), Viewport.whole(300, 300)
    plain, none = (eyelid_samples(pair, viewport, i) for i in (None, shifted(points, 0.1, 0.05, 0.0)))
    torch.testing.assert_close(plain.grid[..., 0, :, :], none.grid[..., 0, :, :])
    inside = plain.shares[:, :, 2] > 0.99
    difference = (plain.grid - none.grid)[:, :, :, 2].abs().amax(2)
    assert difference[inside].max() < 1e-5
    irises = shifted(points, 0.07, -0.04)
    tensors, arrays = eyelid_samples(pair, viewport, irises), eyelid_samples(pair.numpy(), viewport, irises.on_host())
    np.testing.assert_allclose(tensors.grid.numpy(), arrays.grid, atol=2e-4)


def test_moved_eyes_are_marked_and_others_not(face):
    points, _ = placed(face)
    contours = rasterise(points, (RIGHT_EYE, LEFT_EYE), 128)
    assert moved_eyes(shifted(points, 0.0, 0.0), points, contours).abs().max() == 0
    eyes = moved_eyes(shifted(points, 0.1, 0.0), points, contours)
    assert eyes.shape == (1, 1, CROP, CROP) and eyes.max() == 1 and 0.001 < eyes.mean() < 0.05
    looks = Look.join([Look(shifted(points, 0.1 * n, 0.0), eyes * n) for n in range(2)])
    assert float(looks[1:2].irises.place[0, 0, 0]) == pytest.approx(0.6) and looks[:1].eyes.max() == 0


def test_both_eyes_are_seen_alike(face):
    points, _ = placed(face)
    picture = painted(points, 256).expand(-1, 3, -1, -1) * 2 - 1
    patches = eye_patches(picture, points)
    assert patches.shape == (2, 3, *PATCH)
    network = IrisNetwork(IrisConfig(channels=(4, 8, 8), hidden=8)).eval()
    found = network.locate(picture, points)
    assert found.centre.shape == (1, 2, 2) and found.radius.shape == found.error.shape == (1, 2)
    assert (found.error > 0).all() and (found.radius > 0).all()
    darker, lighter = (network.locate(0.5 * picture + shift, points).centre for shift in (-0.3, 0.2))
    torch.testing.assert_close(darker, lighter, atol=2e-3, rtol=0)  # light does not count
