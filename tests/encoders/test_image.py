"""Image encoder families keep one contract: declared channels and strides, any batch size, no hidden state."""

import pytest
import torch

from encoders.image import FAMILIES, build_encoder, to_tensor


@pytest.mark.parametrize("family", FAMILIES)
def test_declared_channels_and_strides_are_true(family):
    encoder = FAMILIES[family]().eval()
    pyramid = encoder(torch.rand(2, 3, 256, 256))
    assert tuple(stage.shape[1] for stage in pyramid) == encoder.out_channels
    assert tuple(256 // stage.shape[-1] for stage in pyramid) == encoder.strides
    assert pyramid[-1].shape[-2:] == (1, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_reaches_every_parameter(family):
    encoder = FAMILIES[family]()
    sum(stage.square().mean() for stage in encoder(torch.rand(2, 3, 256, 256))).backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_unknown_family_lists_the_known_ones():
    with pytest.raises(ValueError, match="lia, resnet"):
        build_encoder("vgg", (1, 2))


def test_to_tensor_range():
    picture = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    assert to_tensor(picture)[0, 0, 0].tolist() == [-1.0, 1.0]
