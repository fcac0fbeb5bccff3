"""HRNet (Sun et al. 2019; Wang et al., "Deep high-resolution representation learning", 2020) as an image encoder.

Letters: B pictures. Branches at strides 4, 8, 16 and 32 exchange features throughout the network, so that the finest
map keeps its resolution and still covers the whole face. The backbone is timm's (extra `encoders`), with random
weights.

Heads, named as in the papers, select what is returned:

    v1        the finest branch alone                                            one map
    v2        all branches, enlarged to the finest and concatenated              one map
    v2p       that map through a 1x1 convolution, averaged down to every stride  a pyramid, for HAL
    branches  the four branches as they are                                      a pyramid, for HAL

Every head ends in a convolution over a whole 8x8 map, which keeps positions. With v1 and v2 that is the only stage, so
HAL has nothing to weight; they are the controls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (4, 8, 16, 32)
HEADS = ("v2p", "branches", "v1", "v2")
PYRAMID_CHANNELS = 128  # of every level of v2p
LAST_SIZE = 256 // STRIDES[-1]  # pixels a side of the map that the last convolution covers


class HRNet(nn.Module):
    """An HRNet of timm.

    name: of the model (hrnet_w18, hrnet_w18_small ...); head: one of HEADS; code: width of the last stage. ValueError
    for an unknown head, or where timm is not installed.
    """

    def __init__(self, name: str = "hrnet_w18", head: str = "v2p", code: int = 256) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"unknown head {head!r} of {name}; known are {', '.join(HEADS)}")
        try:
            import timm
        except ImportError as error:
            raise ValueError(f"{name} needs timm, which is not installed; pip install 'anitalker[encoders]'") from error
        self.head = head
        body: Any = timm.create_model(
            name, pretrained=False, features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
        )
        self.body = body
        branches: tuple[int, ...] = tuple(body.feature_info.channels())
        total = sum(branches)
        if head == "v2p":
            self.mix = nn.Sequential(
                nn.Conv2d(total, PYRAMID_CHANNELS, 1, bias=False), nn.BatchNorm2d(PYRAMID_CHANNELS), nn.ReLU()
            )
        width = {"v1": branches[0], "v2": total, "v2p": PYRAMID_CHANNELS, "branches": branches[-1]}[head]
        self.last = nn.Conv2d(width, code, LAST_SIZE)
        levels = {"v2p": (PYRAMID_CHANNELS,) * len(STRIDES), "branches": branches}.get(head, ())
        self.out_channels = (*levels, code)
        self.strides = (*STRIDES[: len(levels)], 256)

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B,3,256,256] in [-1,1] -> [B,C,H,W] per stage, widest first, the last at 1x1."""
        branches = self.body(image)
        if self.head == "branches":
            return [*branches, self.last(branches[-1])]
        if self.head == "v1":
            return [self.last(F.adaptive_avg_pool2d(branches[0], LAST_SIZE))]
        size = branches[0].shape[-2:]
        maps = [
            branches[0],
            *(F.interpolate(branch, size, mode="bilinear", align_corners=False) for branch in branches[1:]),
        ]
        joined = torch.cat(maps, 1)
        if self.head == "v2":
            return [self.last(F.adaptive_avg_pool2d(joined, LAST_SIZE))]
        mixed = self.mix(joined)
        pyramid = [mixed if stride == STRIDES[0] else F.avg_pool2d(mixed, stride // STRIDES[0]) for stride in STRIDES]
        return [*pyramid, self.last(pyramid[-1])]
