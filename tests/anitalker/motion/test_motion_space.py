"""Motion space: pixels only, own code gives the portrait back, orthonormal directions, batch independence, frozen
names.
"""

import inspect

import torch

from anitalker.faces.landmarks import fit_pose, from_canonical
from anitalker.motion.motion_space import Codes, MotionSpace, lid_scale, upright
from anitalker.network_config import MotionSpaceConfig


def made(face):
    torch.manual_seed(0)
    space = MotionSpace(MotionSpaceConfig()).eval()
    space.canonical.copy_(face)
    space.directions.copy_(torch.linalg.qr(torch.randn(468 * 3, 14)).Q)
    return space


def codes(count):
    torch.manual_seed(1)
    pose = torch.randn(count, 6) * torch.tensor([0.1, 0.1, 0.1, 0.03, 0.03, 0.05]) - torch.tensor([0, 0, 0, 0, 0, 0.6])
    return torch.cat([pose, torch.randn(count, 14) * 0.05], 1)


def test_nothing_but_pixels_comes_in():
    assert list(inspect.signature(MotionSpace.forward).parameters) == ["self", "image"]


def test_shapes_and_unit_identity(face):
    out = made(face)(torch.rand(2, 3, 256, 256) * 2 - 1)
    assert isinstance(out, Codes)
    assert out.motion.shape == (2, 20) and out.identity.shape == (2, 64) and out.appearance.shape == (2, 256)
    assert torch.allclose(out.identity.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.isclose(out.hal_weights.sum(), torch.tensor(1.0))


def test_batch_of_two_is_two_batches_of_one(face):
    space, pictures = made(face), torch.rand(2, 3, 256, 256) * 2 - 1
    together, apart = space(pictures).motion, torch.cat([space(p[None]).motion for p in pictures])
    assert torch.allclose(together, apart, atol=1e-5)


def test_second_look_sees_the_head_upright_and_large(face):
    motion = codes(4)
    motion[:, 2] = torch.tensor([0.4, -0.3, 0.0, 0.2])
    moved = upright(motion).landmarks(from_canonical(face.expand(4, -1, -1), motion[:, :6]))
    seen = fit_pose(moved, face)
    assert seen[:, 2].abs().max() < 1e-3
    assert torch.allclose(seen[:, 5].exp(), torch.full((4,), 0.75), atol=1e-3)


def test_own_code_gives_the_portrait_back(face):
    space, motion = made(face), codes(3)
    portrait = from_canonical(face.expand(3, -1, -1), motion[:, :6]) + torch.randn(3, 468, 3) * 1e-3
    assert torch.allclose(space.landmarks(portrait, motion, motion)[..., :2], portrait[..., :2], atol=2e-3)


def test_driven_landmarks_follow_pose_and_expression(face):
    """Neutral + directions * e under the drive's pose, up to what closing lids and lips may not cross."""
    space, (a, b) = made(face), codes(2)[:, None]
    scale = lid_scale(face[None], face)
    portrait = from_canonical(face + scale * space._displacement(a), a[:, :6])
    wanted = from_canonical(face + scale * space._displacement(b), b[:, :6])
    driven = space.landmarks(portrait, a, b)
    assert (driven - wanted)[..., :2].norm(dim=-1).median() < 2e-3


def test_neutral_takes_the_expression_off(face):
    space, motion = made(face), codes(1)
    shown = from_canonical(face + lid_scale(face[None], face) * space._displacement(motion), motion[:, :6])
    assert (space.neutral(shown, motion)[0] - face)[:, :2].norm(dim=-1).median() < 5e-3


def test_gradient_reaches_every_parameter(face):
    space = made(face).train()
    space.hal.drop_last = 0.0
    out = space(torch.rand(2, 3, 256, 256))
    (out.motion.sum() + out.identity[:, 0].sum() + out.appearance.sum()).backward()
    assert [name for name, p in space.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_state_dict_names_are_frozen(face):
    """A rename would orphan shipped weights."""
    names = set(MotionSpace(MotionSpaceConfig()).state_dict())
    frozen = {"hal.logits", "hal.lift.0.weight", "encoder.stem.1.weight", "encoder.blocks.0.first.weight"}
    frozen |= {"encoder.last.weight", "motion_head.0.weight", "motion_out.bias", "identity_head.2.weight"}
    frozen |= {"canonical", "directions", "motion_mean", "motion_std"}
    assert frozen <= names and len(names) == 57


def test_lower_precision_around_it_does_not_reach_the_geometry(face):
    """Similarity and pose are exact under autocast; only the network itself may be coarse."""
    space, motion = made(face), codes(2)
    space.look = lambda image: Codes(motion, motion[:, :1], motion, motion[0])
    pictures = torch.rand(2, 3, 256, 256)
    exact = space(pictures).motion
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(space(pictures).motion, exact)
