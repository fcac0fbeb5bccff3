"""The convolution block of which the decoder's networks are made."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with group normalisation; the second one is residual."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, groups: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.GroupNorm(groups, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,H,W] -> [B,outputs,H/stride,W/stride]."""
        x = self.first(x)
        # With an odd number of channels per group, torch takes seven times as long in bfloat16 as in float32.
        odd = self.norm.num_channels // self.norm.num_groups % 2
        x = F.silu(self.norm(x.float() if odd else x)).to(x.dtype)
        return x + F.silu(self.second(x))
