"""Equalised layers: weights are stored with unit variance and divided by the root of their fan-in where they are used
(Karras et al., "Progressive growing of GANs", 2018, section 4.1), and the two fixed helpers that go with them.

Letters: B pictures, C channels, H x W pixels. State-dict keys are those of the original's checkpoints.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of the leaky ReLU for negative values


def binomial(gain: float = 1.0) -> Tensor:
    """The 4x4 low-pass kernel, outer product of (1, 3, 3, 1), that sums to `gain`."""
    tap = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(tap, tap) * (gain / 64)


def depthwise(kernel: Tensor, channels: int) -> Tensor:
    """The same kernel [k,k] for every channel, as F.conv2d wants it with groups = channels: [channels,1,k,k]."""
    return kernel.expand(channels, 1, *kernel.shape).contiguous()


class EqualConv2d(nn.Module):
    """Convolution without bias: weight [outputs,inputs,k,k] / sqrt(inputs k k)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.stride, self.padding = stride, padding

    def scaled(self) -> Tensor:
        """The weight over the root of its fan-in."""
        return self.weight / math.sqrt(self.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,H,W] -> [B,outputs,h,w]."""
        return F.conv2d(x, self.scaled(), stride=self.stride, padding=self.padding)


class EqualLinear(nn.Module):
    """Linear layer: weight [outputs,inputs] / sqrt(inputs), the bias as it is stored."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))

    def scaled(self) -> Tensor:
        """The weight over the root of its fan-in."""
        return self.weight / math.sqrt(self.weight.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """[...,inputs] -> [...,outputs]."""
        return F.linear(x, self.scaled(), self.bias)


class Activation(nn.Module):
    """Add a bias [1,C,1,1], leaky ReLU, times sqrt 2, which keeps the variance (StyleGAN2, Karras et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        return F.leaky_relu(x + self.bias, SLOPE) * math.sqrt(2)


class Blur(nn.Module):
    """The binomial low pass with `padding` zeros on every side; every `stride`-th pixel is kept."""

    kernel: Tensor

    def __init__(self, channels: int, padding: int, stride: int = 1) -> None:
        super().__init__()
        self.register_buffer("kernel", depthwise(binomial(), channels), persistent=False)
        self.padding, self.stride = padding, stride

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,h,w]."""
        return F.conv2d(x, self.kernel, stride=self.stride, padding=self.padding, groups=len(self.kernel))


def double(x: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,C,2H,2W]: zeros between the pixels, then the binomial kernel of sum 4, zeros outside."""
    kernel = _doubling(x.shape[1], x.device, x.dtype)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


@functools.cache
def _doubling(channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The kernel of `double`, cached: no CUDA graph can capture its copy from the host to the GPU."""
    with torch.inference_mode(False):  # kept for training too
        return depthwise(binomial(4.0), channels).to(device, dtype)
