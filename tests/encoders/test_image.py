"""Image encoder families keep their interface: declared channels and strides, any batch size, no hidden state."""

import pytest
import torch

from encoders.hal import HierarchicalAggregation
from encoders.hrnet import HEADS
from encoders.image import build_encoder, to_tensor

# The small HRNet has the blocks and branches of the others, fewer of each.
VARIANTS = [("lia", ""), ("resnet", ""), *(("hrnet_w18_small", head) for head in HEADS)]


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    return {variant: build_encoder(variant[0], head=variant[1]) for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_declared_channels_and_strides_are_true(variant, encoders):
    encoder = encoders[variant].eval()
    pyramid = encoder(torch.rand(2, 3, 256, 256))
    assert tuple(stage.shape[1] for stage in pyramid) == encoder.out_channels
    assert tuple(256 // stage.shape[-1] for stage in pyramid) == encoder.strides
    assert pyramid[-1].shape[-2:] == (1, 1)
    assert (len(pyramid) == 1) == (variant[1] in ("v1", "v2"))


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_a_batch_is_its_pictures(variant, encoders):
    encoder, pictures = encoders[variant].eval(), torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        both, single = encoder(pictures), encoder(pictures[1:])
    assert all(torch.allclose(a[1:], b, atol=1e-4) for a, b in zip(both, single, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_gradient_reaches_every_parameter_through_hal(variant, encoders):
    encoder = encoders[variant].train()
    hal = HierarchicalAggregation(encoder.out_channels, encoder.out_channels[-1], drop_last=0.0)
    code, weights = hal(encoder(torch.rand(2, 3, 256, 256)))
    assert weights.sum().item() == pytest.approx(1) and code.shape == (2, encoder.out_channels[-1])
    (code * torch.randn(code.shape)).sum().backward()
    # A finest branch of an HRNet feeds coarser maps that a head may leave out.
    unused = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert variant[1] == "v1" or unused == []
    if variant[1] == "v1":
        assert unused and all("stage4" in name for name in unused)
    encoder.zero_grad(set_to_none=True)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="lia, resnet, hrnet_w18"):
        build_encoder("vgg", (1, 2))
    with pytest.raises(ValueError, match="unknown head 'v3' of hrnet_w18_small; known are v2p, branches, v1, v2"):
        build_encoder("hrnet_w18_small", head="v3")
    with pytest.raises(ValueError, match="'lia' has no heads, but 'v2p' came"):
        build_encoder("lia", head="v2p")


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_full_size_declares_what_it_gives(head):
    encoder = build_encoder("hrnet_w18", head=head).eval()
    with torch.no_grad():
        pyramid = encoder(torch.rand(1, 3, 256, 256))
    assert tuple(stage.shape[1] for stage in pyramid) == encoder.out_channels


def test_to_tensor_range():
    picture = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    assert to_tensor(picture)[0, 0, 0].tolist() == [-1.0, 1.0]
