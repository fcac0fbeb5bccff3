"""The original's stage-one encoder: a picture -> image code, skips for the decoder, identity feature, motion code.

Letters: B pictures, S = 512 width of a code, M = 20 motion numbers. Residual pyramid of LIA (Wang et al., "Latent image
animator", 2022) under the Hierarchical Aggregation Layer of AniTalker (Liu et al. 2024, section 3.2); attribute names
are those of the published checkpoints, so that these load strictly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from .equalized import Activation, Blur, EqualConv2d, EqualLinear


@dataclass(frozen=True)
class StageOneEncoding:
    """The outputs of the encoder.

    image_code [B,S]; motion_code [B,M]; skips from 8x8 to the full size, [B,C,n,n] each; identity [B,S] and
    motion_feature [B,S]: of the two heads; stages [B,stages,S]: the codes that HAL sums with weights [stages].
    """

    image_code: Tensor
    motion_code: Tensor
    skips: tuple[Tensor, ...]
    identity: Tensor
    motion_feature: Tensor
    stages: Tensor
    weights: Tensor


class _Residual(nn.Module):
    """Residual block of half the size: two 3x3 convolutions with a low pass between; shortcut of low pass and 1x1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(inputs, inputs, 3, padding=1), Activation(inputs))
        self.conv2 = nn.Sequential(Blur(inputs, 2), EqualConv2d(inputs, outputs, 3, stride=2), Activation(outputs))
        # The 1x1 convolution keeps every second pixel, so the low pass is evaluated only there.
        self.skip = nn.Sequential(Blur(inputs, 1, stride=2), EqualConv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class _StageWeights(nn.Module):
    """One logit per stage."""

    def __init__(self, stages: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(stages))


class Pyramid(nn.Module):
    """Stages from the full size down to 4x4 and 1x1, and HAL over all of them.

    channels: widths at 4, 8, 16 ... pixels up to the full size. The linear layers that lift a stage to the code's width
    are named fc1, fc2 ... in the order of the stages that need one.
    """

    def __init__(self, channels: tuple[int, ...], code_size: int) -> None:
        super().__init__()
        widths = tuple(reversed(channels))
        entry = nn.Sequential(EqualConv2d(3, widths[0], 1), Activation(widths[0]))
        blocks = [_Residual(a, b) for a, b in pairwise(widths)]
        self.convs = nn.ModuleList([entry, *blocks, EqualConv2d(widths[-1], code_size, 4)])
        lifted = [stage for stage, width in enumerate(widths) if width != code_size]
        self.lifts = {stage: f"fc{number}" for number, stage in enumerate(lifted, 1)}
        for stage, name in self.lifts.items():
            self.add_module(name, EqualLinear(widths[stage], code_size))
        self.ws = _StageWeights(len(self.convs))

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B,3,n,n] in [-1,1] -> every stage's output [B,C,h,w], the largest first, the last 1x1."""
        outputs = [self.convs[0](image)]
        for block in list(self.convs)[1:]:
            outputs.append(block(outputs[-1]))
        return outputs

    def aggregate(self, pyramid: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """HAL: spatial means, lifted and weighted -> code [B,S], stages [B,stages,S], softmax weights [stages]."""
        means = [stage.mean((2, 3)) for stage in pyramid]
        codes = [getattr(self, self.lifts[i])(mean) if i in self.lifts else mean for i, mean in enumerate(means)]
        stages, weights = torch.stack(codes, 1), self.ws.weights.softmax(0)
        return (stages * weights[:, None]).sum(1), stages, weights


class _Heads(nn.Module):
    """Heads for identity and for what remains without it (motion)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.identity_net = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
        self.identity_excluded_net = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))


class StageOneEncoder(nn.Module):
    """Pyramid, heads, and five linear layers down to the motion code."""

    def __init__(self, channels: tuple[int, ...], code_size: int, motion_size: int) -> None:
        super().__init__()
        self.net_app = Pyramid(channels, code_size)
        self.net_decouping = _Heads(code_size)
        self.fc = nn.Sequential(
            *(EqualLinear(code_size, code_size) for _ in range(4)), EqualLinear(code_size, motion_size)
        )

    def forward(self, image: Tensor) -> StageOneEncoding:
        """Pictures [B,3,n,n] in [-1,1] -> all outputs."""
        pyramid = self.net_app(image.contiguous(memory_format=torch.channels_last))
        code, stages, weights = self.net_app.aggregate(pyramid)
        feature = self.net_decouping.identity_excluded_net(code)
        identity = self.net_decouping.identity_net(code)
        skips = tuple(pyramid[-3::-1])  # from 8x8 up: the decoder does not use 4x4 and 1x1
        return StageOneEncoding(code, self.fc(feature), skips, identity, feature, stages, weights)
