"""The mouth synthesiser: its budget, references, and what it lays over a frame."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from anitalker.decoder.mouth import MouthSynthesizer, References
from anitalker.decoder.mouth_layer import MouthLayer, draw_mouth, encode_references, join, prepare_mouth
from anitalker.decoder.mouth_patch import patch_points, place_patch
from anitalker.decoder.viewport import Viewport
from anitalker.faces.landmarks import from_canonical
from anitalker.network_config import MouthConfig


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = MouthSynthesizer(MouthConfig(channels=(16, 16, 24), values=8, keys=8))
    torch.nn.init.normal_(network.exit.weight, std=0.1)
    return network.eval()


@pytest.fixture
def landmarks(face):
    """A face at rest and with its mouth open, [2,468,3]."""
    still = from_canonical(face[None], torch.tensor([[0.0, 0, 0.1, 0, 0, -0.6]]))
    opened = still.clone()
    opened[:, [14, 87, 317, 178, 402, 17, 152], 1] += 0.04
    return torch.cat([still, opened])


def encoded(network, landmarks, count=1, motion=None):
    torch.manual_seed(1)
    pictures = torch.rand(count, 3, 256, 256) * 2 - 1
    points = landmarks[torch.arange(count) % 2]
    return encode_references(network, pictures, points, torch.zeros(count, 20) if motion is None else motion)


def test_a_frame_costs_at_most_400_mflop_and_two_million_weights(landmarks):
    network = MouthSynthesizer(MouthConfig()).eval()
    assert sum(p.numel() for p in network.parameters()) < 2e6
    references = encoded(network, landmarks)
    with FlopCounterMode(display=False) as flops:
        network(torch.zeros(1, 3, 128, 128), landmarks[1:], torch.zeros(1, 20), references)
    assert flops.get_total_flops() < 400e6


@torch.inference_mode()
def test_any_number_of_references_in_any_order(network, landmarks):
    warped, motion = torch.rand(2, 3, 128, 128), torch.randn(2, 20) * 0.1
    references = encoded(network, landmarks, 3)
    patch = network(warped, landmarks, motion, references)
    assert patch.shape == (2, 4, 128, 128) and patch[:, 3].min() >= 0 and patch[:, 3].max() <= 1
    turned = References(*(getattr(references, name).flip(1) for name in References.__dataclass_fields__))
    assert torch.allclose(network(warped, landmarks, motion, turned), patch, atol=1e-5)
    alone = References(*(getattr(references, name)[:, :1] for name in References.__dataclass_fields__))
    assert (network(warped, landmarks, motion, alone) - patch).abs().max() > 1e-3


@torch.inference_mode()
def test_alpha_fades_to_nothing_at_the_patchs_border(network, landmarks):
    patch = network(torch.rand(1, 3, 128, 128), landmarks[:1], torch.zeros(1, 20), encoded(network, landmarks))
    alpha = patch[0, 3]
    assert torch.cat([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]]).max() < 0.01 and alpha[64, 64] > 0.05


@torch.inference_mode()
def test_a_mouth_that_has_not_moved_stays_the_portraits(network, landmarks):
    picture = torch.rand(1, 3, 256, 256) * 2 - 1
    ready = prepare_mouth(network, picture, landmarks[:1], torch.zeros(1, 20))
    flow = torch.zeros(2, 2, 96, 96)
    layer = draw_mouth(network, ready, landmarks, torch.zeros(2, 20), flow)
    assert layer.change[0, 3].max() == 0 and layer.change[1, 3].max() > 0
    frames = layer.over(picture.expand(2, -1, -1, -1).clone(), picture)
    assert torch.equal(frames[0], picture[0]) and not torch.equal(frames[1], picture[0])


@torch.inference_mode()
@pytest.mark.parametrize("size", [100, 256, 700])
def test_a_patch_lies_where_it_was_placed_at_any_size(landmarks, size):
    placement = place_patch(landmarks[:1])
    positions = patch_points(placement).permute(0, 3, 1, 2)
    patch = torch.cat([positions, torch.zeros(1, 1, 128, 128), torch.ones(1, 1, 128, 128)], 1)
    frames, portrait = torch.full((1, 3, size, size), -1.0), torch.zeros(1, 3, size, size)
    MouthLayer(patch, placement, torch.zeros(1, 2, 96, 96)).over(frames, portrait)
    inside = frames[0, 2] > -1e-6
    axis = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    assert abs(inside.float().mean().sqrt() * size - 2 * placement[0, :, 0].norm() * size) < 3  # its side
    assert (frames[0, 0] - x)[inside].abs().max() < 0.01 and (frames[0, 1] - y)[inside].abs().max() < 0.01
    assert (frames[0][:, ~inside] < -1e-6).any(0).all()


@torch.inference_mode()
def test_the_mouth_keeps_the_portraits_finest_detail(landmarks):
    placement, portrait = place_patch(landmarks[:1]), torch.rand(1, 3, 700, 700) * 2 - 1
    nothing = torch.cat([torch.zeros(1, 3, 128, 128), torch.ones(1, 1, 128, 128)], 1)  # no change of colour, alpha 1
    frames = MouthLayer(nothing, placement, torch.zeros(1, 2, 96, 96)).over(torch.zeros(1, 3, 700, 700), portrait)
    covered = (frames.abs().sum(1, keepdim=True) > 0).float()
    inside = -torch.nn.functional.max_pool2d(-covered, 9, 1, 4)[:, 0] > 0  # less its border, where alpha falls to 0
    assert inside.float().mean() > 0.05 and (frames - portrait).abs().amax(1)[inside].max() < 1e-3


def test_frames_are_joined_and_taken_apart(landmarks):
    layer = MouthLayer(torch.rand(2, 4, 128, 128), place_patch(landmarks), torch.rand(2, 2, 96, 96))
    again = join([layer[:1], layer[1:]])
    assert all(torch.equal(getattr(again, name), getattr(layer, name)) for name in ("change", "placement", "flow"))
    assert join([None, None]) is None


def test_gradient_reaches_every_parameter(network, landmarks):
    network.train()
    references = encoded(network, landmarks, 2)
    network(torch.rand(2, 3, 128, 128), landmarks, torch.randn(2, 20), references).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_state_dict_names_are_frozen():
    names = set(MouthSynthesizer(MouthConfig()).state_dict())
    assert {"reference.0.weight", "entry.weight", "query.bias", "fit.2.weight", "nothing", "join.weight"} <= names
    assert {"down8.second.bias", "modulate.weight", "up16.norm.weight", "exit.weight"} <= names and len(names) == 45


@torch.inference_mode()
def test_a_viewport_shows_its_part_of_the_same_mouth(network, landmarks):
    picture, size = torch.rand(1, 3, 300, 300) * 2 - 1, 300
    layer = MouthLayer(torch.rand(1, 4, 128, 128), place_patch(landmarks[1:]), 0.01 * torch.randn(1, 2, 96, 96))
    whole = layer.over(torch.zeros(1, 3, size, size), picture)
    viewport = Viewport.around(slice(110, 300), slice(0, 240), (size, size))
    rows, columns = viewport.box
    part = layer.over(torch.zeros(1, 3, viewport.height, viewport.width), picture[..., rows, columns], viewport)
    inside = viewport.inner(slice(150, 260), slice(60, 180))
    assert (part[..., inside[0], inside[1]] - whole[..., 150:260, 60:180]).abs().max() < 1e-3
    assert whole.abs().sum() > 0


def test_places_with_a_gradient_are_the_same(face):
    landmarks = from_canonical(face[None], torch.tensor([[0.1, 0, 0.2, 0, 0, -0.5]]))
    layer = MouthLayer(torch.rand(1, 4, 128, 128), place_patch(landmarks), 0.01 * torch.randn(1, 2, 96, 96))
    learned = MouthLayer(layer.change, layer.placement, layer.flow.clone().requires_grad_())
    viewport = Viewport(90, 30, 300, 250, (500, 400))
    window = layer.window(viewport)
    for arrays, tensors in zip(layer.places(*window, viewport), learned.places(*window, viewport), strict=True):
        for array, tensor in zip(arrays, tensors, strict=True):
            torch.testing.assert_close(torch.as_tensor(array), tensor.detach(), atol=1e-5, rtol=0)
