"""Matte network: how much of each pixel belongs to the people in a portrait.

Letters: B pictures, H x W pixels, both multiples of 16. Pictures are [B,3,H,W] in [-1,1].

The encoder is that of SqueezeNet 1.0 (Iandola et al. 2016), padded so that every stride halves, and begins with the
weights that it learned on ImageNet; the decoder joins its maps, and what the whole picture shows, from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.decoder.blocks import ConvBlock, from_cells
from anitalker.network_config import MatteConfig

STRIDE = 16
MEANS = (123.0, 117.0, 104.0)  # of 255, red, green and blue: what the encoder's weights expect to be subtracted
# Number in torchvision's `squeezenet1_0.features`, channels before, squeezed and after.
FIRES = ((3, 96, 16, 128), (4, 128, 16, 128), (5, 128, 32, 256))
FIRES_8 = ((7, 256, 32, 256), (8, 256, 48, 384), (9, 384, 48, 384), (10, 384, 64, 512))
FIRES_16 = ((12, 512, 64, 512),)


class Fire(nn.Module):
    """SqueezeNet's module: 1x1 convolution to few channels, then 1x1 and 3x3 beside each other."""

    def __init__(self, inputs: int, squeezed: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(squeezed, outputs // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,h,w] -> [B,outputs,h,w]."""
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class MatteNetwork(nn.Module):
    """Pictures -> logits of alpha."""

    means: Tensor

    def __init__(self, config: MatteConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter, eighth, deep = config.channels
        self.entry = nn.Conv2d(3, 96, 7, 2, 3)
        self.fires4, self.fires8, self.fires16 = (
            nn.Sequential(*(Fire(*sizes) for _, *sizes in fires)) for fires in (FIRES, FIRES_8, FIRES_16)
        )
        self.reduce = nn.Conv2d(512, deep, 1)
        self.context = nn.Linear(512, deep)
        self.middle = ConvBlock(deep, deep)
        self.skip8, self.up8 = nn.Conv2d(512, eighth, 1), ConvBlock(deep + eighth, eighth)
        self.skip4, self.up4 = nn.Conv2d(256, quarter, 1), ConvBlock(eighth + quarter, quarter)
        self.narrow, self.skip2 = nn.Conv2d(quarter, half, 1), nn.Conv2d(96, half, 1)
        self.up2 = nn.Conv2d(2 * half, half, 3, padding=1)
        self.exit = nn.Conv2d(half, 4, 3, padding=1)  # 2x2 pixels of each place
        self.register_buffer("means", torch.tensor(MEANS).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B,3,H,W] in [-1,1] -> logits [B,1,H,W]."""
        x = (pictures + 1) * 127.5 - self.means
        x2 = F.relu(self.entry(x.contiguous(memory_format=torch.channels_last)))
        x4 = self.fires4(_halve(x2))
        x8 = self.fires8(_halve(x4))
        x16 = self.fires16(_halve(x8))
        scene = self.context(x16.mean((2, 3)))[..., None, None]
        x = self.middle(F.silu(self.reduce(x16) + scene))
        x = self.up8(torch.cat([_double(x), F.silu(self.skip8(x8))], 1))
        x = self.up4(torch.cat([_double(x), F.silu(self.skip4(x4))], 1))
        x = F.silu(self.up2(torch.cat([_double(self.narrow(x)), F.silu(self.skip2(x2))], 1)))
        return from_cells(self.exit(x).float(), 2)

    def start_encoder(self, weights: Mapping[str, np.ndarray]) -> None:
        """Give the encoder the weights of torchvision's `squeezenet1_0`, by their keys."""
        modules: dict[str, nn.Module] = {"features.0": self.entry}
        for fires, blocks in ((FIRES, self.fires4), (FIRES_8, self.fires8), (FIRES_16, self.fires16)):
            modules |= {f"features.{number}": block for (number, *_), block in zip(fires, blocks, strict=True)}
        for name, module in modules.items():
            keys = module.state_dict()
            module.load_state_dict({key: torch.tensor(np.asarray(weights[f"{name}.{key}"])) for key in keys})


def _halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2, 1)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
