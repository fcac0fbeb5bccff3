"""The verifier sees a face, upright and alone: what it must not see changes nothing."""

import numpy as np
import pytest
import torch

from anitalker.faces import verifier
from anitalker.faces.landmarks import STABLE
from anitalker.faces.verifier import VerifierNetwork, face_crops, straighten


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    canonical = torch.from_numpy(np.load("tests/canonical_face.npy"))
    network = VerifierNetwork(widths=(8, 8, 16), size=8).eval()
    network.set_template(canonical)
    return network


def placed(canonical, turn=0.0, size=0.6, shift=(0.5, 0.42)):
    """The canonical face in a picture, [1,468,3] in crop units."""
    cos, sin = np.cos(turn), np.sin(turn)
    flat = canonical[:, :2] @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float32) * size
    return torch.cat([flat + torch.tensor(shift), canonical[:, 2:] * size], 1)[None]


def smooth_picture(points, side=256):
    """Colours that belong to places on the face, whatever its turn and size: [1,3,side,side]."""
    a, b = verifier.similarity(points[:, list(STABLE), :2], torch.rand(len(STABLE), 2, generator=torch.manual_seed(1)))
    axis = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    place = a[0] * torch.complex(x, y) + b[0]
    waves = [torch.sin(9 * place.real), torch.cos(7 * place.imag), torch.sin(5 * (place.real + place.imag))]
    return torch.stack(waves)[None].float()


@pytest.mark.parametrize("change", [{"turn": 0.3}, {"size": 0.45}, {"shift": (0.58, 0.45)}])
def test_turn_size_and_place_do_not_matter(network, face, change):
    plain, moved = placed(face), placed(face, **change)
    crops = [face_crops(smooth_picture(p), p, network.template) for p in (plain, moved)]
    assert (crops[0] - crops[1]).abs().mean() < 0.02
    assert (crops[0] - face_crops(smooth_picture(plain), moved, network.template)).abs().mean() > 0.05


@torch.no_grad()
def test_background_and_light_do_not_matter(network, face):
    points = placed(face)
    picture = smooth_picture(points) * 0.5
    beyond = picture.clone()
    beyond[:, :, :20] = 1
    beyond[:, :, :, :20] = -1
    tinted = picture * 0.7 + torch.tensor([0.2, -0.1, 0.05])[:, None, None]
    first, second, third = (network(face_crops(p, points, network.template)) for p in (picture, beyond, tinted))
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first, third, atol=1e-3, rtol=0)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(1))


def test_straighten_brings_points_to_their_places(face):
    points = placed(face, turn=-0.4, size=0.5)
    places = torch.rand(2, 2, generator=torch.manual_seed(0))
    _, moved = straighten(smooth_picture(points), points, places, (33, 263), 32)
    torch.testing.assert_close(moved[0, [33, 263]], places, atol=1e-5, rtol=0)
