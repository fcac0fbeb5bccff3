"""Terms of stage one on made-up codes, places and pictures, and the decoder with gradients against the one without."""

import math

import pytest
import torch
from torch.nn import functional as F

from anitalker.config import InputError, StageOneConfig
from anitalker.faces.landmarks import from_canonical
from anitalker.original.stage_one import StageOne
from scripts.training import styled
from scripts.training.augment import colour_pairs
from scripts.training.engine import Engine
from scripts.training.losses import LandmarkFlow, Photometric, feature_network
from scripts.training.pixels import alone_
from scripts.training.presets import PRESETS, resolve, settings
from scripts.training.separation import AngularMargin, MutualInformation, Triplet


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_margin_asks_for_a_smaller_angle():
    """Two people at right angles, a code 30 degrees from its own: equation 3 of ArcFace by hand."""
    loss = AngularMargin(2, 2, scale=4.0, margin=0.3)
    loss.weight.data = torch.eye(2)
    angle = math.radians(30)
    code = 5 * torch.tensor([[math.cos(angle), math.sin(angle)]])  # any length
    own, other = 4 * math.cos(angle + 0.3), 4 * math.cos(math.radians(60))
    expected = -own + math.log(math.exp(own) + math.exp(other))
    assert loss(code, torch.tensor([0])).item() == pytest.approx(expected, abs=1e-5)
    loss.margin = 0.0
    assert loss(code, torch.tensor([0])).item() < expected


def test_triplet_takes_the_nearest_stranger():
    code = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.2, 1.0]]), dim=1)
    person = torch.tensor([0, 1, 0, 1])
    assert Triplet(margin=0.3)(code, person) == 0
    wide = Triplet(margin=2.0)(code, person)
    near = (code[0] - code[2]).square().sum(), (code[1] - code[3]).square().sum()
    far = (code[0] - code[3]).square().sum(), (code[1] - code[3]).square().sum() * 0
    assert wide > 0 and near[0] < far[0]
    assert Triplet()(code, torch.zeros(4, dtype=torch.long)) == 0  # nobody else in the batch


def learned_bound(draw):
    density, engine = MutualInformation(3, 2, hidden=32, rate=2e-2), Engine("cpu")
    for step in range(50):  # fresh codes each time, as in a training: repeated ones would be learned by heart
        loss, numbers = density.loss(*draw(), step=step)
        loss.backward()
        density.update(engine)
    assert math.isfinite(numbers["density"])
    return density.bound(*draw()).item()


def test_bound_of_mutual_information_tells_dependent_from_independent_codes():
    def alone():
        return torch.randn(128, 3), torch.randn(128, 2)

    def told():
        identity = torch.randn(128, 3)
        return identity, identity[:, :2] + 0.5 * torch.randn(128, 2)

    true = 2 * 0.5 * math.log(1 + 1 / 0.25)  # nats of two Gaussian channels
    assert learned_bound(alone) < 0.3 and learned_bound(told) > true


def test_lowering_the_bound_moves_the_codes_and_not_the_density():
    identity = torch.randn(64, 3)
    motion = torch.nn.Parameter(identity[:, :2] + 0.3 * torch.randn(64, 2))
    density = MutualInformation(3, 2, hidden=16)
    density.bound(identity, motion).backward()
    assert motion.grad.abs().sum() > 0 and all(p.grad is None for p in density.parameters())
    assert density.bound(identity, motion).item() == pytest.approx(density.bound(identity, 9 * motion).item(), abs=1e-4)


def test_flow_that_points_to_the_source_landmarks_costs_nothing(face):
    poses = torch.tensor([[0, 0, 0, 0, 0, -0.5], [0, 0, 0, 0.05, -0.02, -0.5]])
    marks = from_canonical(face.expand(2, -1, -1), poses)
    source, target = marks[:1], marks[1:]
    axis = (torch.arange(64) + 0.5) / 64
    here = torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1])[None]
    there = here + torch.tensor([-0.05, 0.02]).view(1, 2, 1, 1)
    loss = LandmarkFlow(face, half_life=100)
    assert loss(there, source, target, poses[:1], poses[1:]).item() < 0.05
    still = loss(here, source, target, poses[:1], poses[1:]).item()
    assert still == pytest.approx(100 * math.hypot(0.05, 0.02) / math.exp(-0.5), rel=0.02)
    assert loss.strength(0) == 1 and loss.strength(100) == 0.5


def test_points_that_face_away_and_shut_lips_weigh_nothing(face):
    loss = LandmarkFlow(face, 100)
    turned = loss._seen(torch.tensor([[0.7, 0, 0, 0, 0, 0.0], [-0.7, 0, 0, 0, 0, 0.0], [0.0] * 6]))
    right, left = 234, 454  # cheeks
    assert turned[2, [1, 13, 33, 263]].min() == 1
    assert {turned[0, right].item(), turned[0, left].item()} == {0.0, 1.0} and turned[1, right] != turned[0, right]
    shut = face.clone()
    shut[14] = shut[13]
    from scripts.training.losses import _open

    assert _open(shut[None])[0, [13, 14]].max() == 0 and _open(shut[None])[0, 1] == 1


def test_coarse_scales_forgive_what_has_moved_a_pixel():
    true = (torch.arange(32) % 2).float().mul(2).sub(1).expand(1, 3, 32, 32)
    moved, weight = true.roll(1, 3), torch.ones(1, 1, 32, 32)
    assert Photometric(1)(moved, true, weight) == 2 and Photometric(2)(moved, true, weight) == 1


def test_colour_changes_both_pictures_of_a_pair_alike():
    a = torch.rand(4, 3, 8, 8) * 2 - 1
    b, before = a.clone(), a.clone()
    colour_pairs(a, b, 0.3)
    assert torch.equal(a, b) and not torch.equal(a, before)


def test_decoder_with_gradients_draws_what_the_fast_one_draws():
    network = StageOne(StageOneConfig(32, 32, channels=(16, 8, 8, 8)))
    for parameter in network.dec.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    look = network.enc(torch.rand(2, 3, 32, 32) * 2 - 1)
    pictures, place = styled.draw(network.dec, look.image_code, look.skips, look.motion_code.flip(0))
    for i in range(2):
        skips = tuple(skip[i : i + 1].detach() for skip in look.skips)
        constants = network.dec.constants()
        ready = network.dec.prepare(constants, look.image_code[i : i + 1].detach(), skips)
        drawn = network.dec.draw(constants, ready, look.motion_code[1 - i : 2 - i].detach())
        assert (drawn.pictures - pictures[i]).abs().max() < 1e-4
    assert place.shape == (2, 2, 32, 32)
    pictures.square().mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None and "identity_net" not in n]
    assert not without


def test_hal_switched_off_is_the_last_stage_alone():
    network = StageOne(StageOneConfig(32, 32, channels=(16, 8, 8, 8)))
    alone_(network)
    look = network.encode(torch.rand(1, 3, 32, 32))
    assert torch.allclose(look.image_code, look.stages[:, -1], atol=1e-6)
    assert not network.enc.net_app.ws.weights.requires_grad


def test_presets_are_whole_and_flags_override_them():
    for name, recipes in PRESETS.items():
        for recipe in recipes:
            assert set(vars(recipe)) <= set(settings()), name
    recipe = resolve("lite-256", "decoder", {"adversarial": 0.2, "steps": 7})
    assert recipe.adversarial == 0.2 and recipe.steps == 7 and PRESETS["lite-256"][1].adversarial == 0


def test_feature_network_that_is_none_is_named(tmp_path):
    assert feature_network("none") is None
    with pytest.raises(InputError, match=r"'nowhere.npz' is no file; give vgg19, none, or a file"):
        feature_network("nowhere.npz")
    broken = tmp_path / "vgg.pth"
    broken.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"vgg.pth is no state dict of VGG19 .*; give --features FILE, or none"):
        feature_network(str(broken))
