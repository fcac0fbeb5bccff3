"""Layers of the motion transformer: rotary attention, blocks modulated by conditions, the speech encoder.

Letters: B clips, L frames, S speech features, W width of the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Self-attention with rotary positions (Su et al., "RoFormer", 2021, eq. 34): only distances in time matter."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """x [B,L,W] and `rotary_table` of L -> [B,L,W]."""
        q, k, v = self.into(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B,heads,L,W/heads] each
        q, k = apply_rotary(q, rotary), apply_rotary(k, rotary)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))


def apply_rotary(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate queries or keys x [...,L,size] by their positions, given as cos and sin [L,size/2]."""
    cos, sin = rotary
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def rotary_table(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin [length,size/2] of rotary positions, for heads of `size`; wavelengths from 1/4 s to 40 s."""
    rates = 1000 ** -torch.linspace(0, 1, size // 2, device=device)
    angles = torch.arange(length, device=device)[:, None] * rates
    return angles.cos(), angles.sin()


class Block(nn.Module):
    """Transformer block whose norms and gates are set by a condition (Peebles and Xie, "DiT", 2023: adaLN-Zero)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.near = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(3 * width, width)
        )
        self.set = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.set.weight)
        nn.init.zeros_(self.set.bias)

    def forward(self, x: Tensor, condition: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """x [B,L,W], condition [B,W] and `rotary_table` of L -> [B,L,W]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.set(condition)[:, None].chunk(6, -1)
        y = F.layer_norm(x, x.shape[-1:]) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(y, rotary)
        y = F.layer_norm(x, x.shape[-1:]) * (1 + scale2) + shift2
        y = y + self.near(y.transpose(1, 2)).transpose(1, 2)
        return x + gate2 * self.mlp(y)


class SpeechEncoder(nn.Module):
    """A projection of speech features and residual convolutions over neighbouring frames."""

    def __init__(self, speech_size: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.into = nn.Linear(speech_size, width)
        self.drop = nn.Dropout(dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(layers))
        self.last = nn.LayerNorm(width)

    def forward(self, speech: Tensor) -> Tensor:
        """Speech features [B,L,S] -> [B,L,W]."""
        x = self.drop(self.into(speech))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + self.drop(F.gelu(layer(norm(x).transpose(1, 2)).transpose(1, 2)))
        return self.last(x)
