"""Image encoder families: a picture -> a pyramid of feature maps. Encoders declare out_channels and strides."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class _Norm(nn.GroupNorm):
    """Group normalisation in groups of 16 channels, which does not depend on the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__(max(1, channels // 16), channels)


class _Residual(nn.Module):
    """Residual block of LIA (Wang et al. 2022): two 3x3 convolutions, the second of stride 2; averaging shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(inputs, inputs, 3, padding=1, bias=False), _Norm(inputs)
        self.second, self.norm2 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), _Norm(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = nn.functional.silu(self.norm1(self.first(x)))
        inner = self.norm2(self.second(inner))
        return nn.functional.silu(inner + self.shortcut(nn.functional.avg_pool2d(x, 2)))


class Lia(nn.Module):
    """The original's residual pyramid, narrower: a space-to-depth stem (4x4 pixels) to 64x64, halved down to 4x4, then
    1x1.

    channels: one width per stage, the first at 64x64, the last at 1x1; with six stages at 64, 32, 16, 8, 4 and 1
    pixels. The last stage is a convolution over the whole 4x4 map, which keeps positions that an average would lose.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128, 192, 256, 256)) -> None:
        super().__init__()
        self.out_channels = tuple(channels)
        self.strides = (*(4 * 2**i for i in range(len(channels) - 1)), 256)
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, channels[0], 3, padding=1), nn.SiLU())
        pairs = pairwise(channels[:-1])
        self.blocks = nn.ModuleList(_Residual(a, b) for a, b in pairs)
        self.last = nn.Conv2d(channels[-2], channels[-1], 256 // self.strides[-2])

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B,3,256,256] in [-1,1] -> [B,C,H,W] per stage, widest first."""
        pyramid = [self.stem(image)]
        for block in self.blocks:
            pyramid.append(block(pyramid[-1]))
        return [*pyramid, self.last(pyramid[-1])]


class ResNet(nn.Module):
    """torchvision's ResNet-18 as a pyramid, stages at 64, 32, 16 and 8 pixels and a last convolution to 1x1."""

    def __init__(self, channels: tuple[int, ...] = (64, 128, 256, 512, 256)) -> None:
        super().__init__()
        from torchvision.models import resnet18

        if tuple(channels[:-1]) != (64, 128, 256, 512):
            raise ValueError(f"resnet got channels {channels}; its first four stages are 64, 128, 256, 512")
        net = resnet18(weights=None)
        self.out_channels = tuple(channels)
        self.strides = (4, 8, 16, 32, 256)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.blocks = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        self.last = nn.Conv2d(512, channels[-1], 8)

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B,3,256,256] in [-1,1] -> [B,C,H,W] per stage, widest first."""
        pyramid, x = [], self.stem(image)
        for block in self.blocks:
            x = block(x)
            pyramid.append(x)
        return [*pyramid, self.last(x)]


FAMILIES: dict[str, type[nn.Module]] = {"lia": Lia, "resnet": ResNet}
HRNETS = ("hrnet_w18", "hrnet_w18_small", "hrnet_w32")  # built by the module hrnet
ENCODERS = (*FAMILIES, *HRNETS)


def build_encoder(family: str, channels: tuple[int, ...] = (), head: str = "") -> nn.Module:
    """An encoder by the name of its family, one of ENCODERS; ValueError lists them.

    channels: one width per stage; empty: the family's default. For an HRNet only the last one, the code's width, is
    used. head: of an HRNet, one of hrnet.HEADS; other families have none.
    """
    if family in HRNETS:
        from .hrnet import HEADS, HRNet

        return HRNet(family, head or HEADS[0], channels[-1] if channels else 256)
    if family not in FAMILIES:
        raise ValueError(f"unknown image encoder {family!r}; known are {', '.join(ENCODERS)}")
    if head:
        raise ValueError(f"image encoder {family!r} has no heads, but {head!r} came; only HRNets have")
    return FAMILIES[family](tuple(channels)) if channels else FAMILIES[family]()


def to_tensor(pictures: Tensor) -> Tensor:
    """uint8 [B,H,W,3] in 0..255 -> float [B,3,H,W] in [-1,1]."""
    return pictures.permute(0, 3, 1, 2).to(torch.float32).div(127.5).sub(1)
