"""Planted checks: of a function that looks at one known region, every method must say so; and captum agrees."""

import pytest
import torch
from torch import nn

from anitalker.config import InputError
from anitalker.inspection import attribution

REGION = slice(41, 79), slice(22, 66)  # on no grid


class Planted(nn.Module):
    """Two outputs of a small network: the first of REGION alone, the second of the whole picture."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.out = nn.Linear(8, 2)

    def forward(self, picture):
        mask = torch.zeros_like(picture)
        mask[..., REGION[0], REGION[1]] = 1
        features = [nn.functional.gelu(self.net(x)).mean((2, 3)) for x in (picture * mask, picture)]
        return torch.stack([self.out(x)[:, n] for n, x in enumerate(features)], 1)


@pytest.fixture
def planted():
    return Planted().eval().requires_grad_(False)


@pytest.fixture
def picture():
    torch.manual_seed(1)
    return nn.functional.interpolate(torch.rand(1, 3, 24, 24), (96, 96), mode="bilinear") * 2 - 1


@pytest.mark.slow
@pytest.mark.parametrize("method", attribution.METHODS)
def test_what_is_planted_is_found(method, planted, picture):
    small = {"window": 16, "stride": 4} if method == "occlusion" else {}
    saliency = attribution.METHODS[method](planted, picture, **small)
    assert saliency.shape == (2, 96, 96) and (saliency >= 0).all() and saliency.isfinite().all()
    inside = torch.zeros(96, 96, dtype=torch.bool)
    inside[REGION] = True
    assert attribution.share_inside(saliency[0], inside) >= 0.9
    assert attribution.share_inside(saliency[1], inside) < 0.5  # the second number looks everywhere


def test_occlusion_is_the_change_that_hiding_makes(picture):
    def brightest(pictures):
        return pictures[:, :, 48:64, 48:64].mean((1, 2, 3))[:, None]

    saliency = attribution.occlusion(brightest, picture, window=16, stride=16)[0]
    hidden = attribution.gaussian_blur(picture)
    expected = abs(brightest(picture) - brightest(hidden)).item()
    assert saliency[50, 50].item() == pytest.approx(expected, rel=1e-4) and saliency[50, 70] == 0


@pytest.mark.slow
def test_integrated_gradients_add_up(planted, picture):
    """Completeness, through captum's own signed values."""
    path = attribution.import_extra("captum.attr").IntegratedGradients(planted)
    start = attribution.gaussian_blur(picture)
    signed = path.attribute(picture, start, target=0, n_steps=32)
    difference = (planted(picture) - planted(start))[0, 0]
    assert signed.sum().item() == pytest.approx(difference.item(), rel=0.02)
    saliency = attribution.integrated_gradients(planted, picture, steps=32)[0]
    assert torch.allclose(saliency, signed[0].abs().sum(0), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_agrees_with_captum_where_captum_can():
    """On modules of ReLU both are the same; captum knows no others."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 1))
    picture = torch.rand(1, 3, 14, 14)
    theirs = (
        attribution.import_extra("captum.attr")
        .GuidedBackprop(net)
        .attribute(picture.clone().requires_grad_(), target=0)
    )
    ours = attribution.guided_backpropagation(net, picture)
    assert torch.allclose(ours[0], theirs[0].abs().sum(0), atol=1e-6) and ours.sum() > 0
    plain = attribution.input_gradient(net, picture)
    assert not torch.allclose(ours, plain)


def test_combined_maps_are_in_units_of_the_deviation():
    maps = torch.stack([torch.full((2, 2), 3.0), torch.full((2, 2), 8.0), torch.full((2, 2), 99.0)])
    assert torch.allclose(
        attribution.combine_maps(maps, torch.tensor([1.0, 2.0, 1.0]), [0, 1]), torch.tensor(12.5).sqrt()
    )


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(InputError, match=r"nosuchpackage, which is not here; pip install 'anitalker\[inspect\]'"):
        attribution.import_extra("nosuchpackage.attr")
