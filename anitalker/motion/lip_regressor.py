"""Lips and jaw predicted from speech alone: a small regression beside the motion transformer.

Letters: B clips, L frames, S speech features, M = 20 motion numbers, K = 14 of expression.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import POSE_SIZE


class LipRegressor(nn.Module):
    """Speech features -> the mean of the expressions that fit the speech.

    It knows neither the portrait nor the previous frames, so it cannot lean on them as the motion transformer does. On
    people it has never seen, the mean of both networks is nearer to the true lips than either. Convolutions over 17
    frames, then two attention layers without positional encoding, so any length is possible.
    """

    def __init__(self, speech_size: int, motion_size: int, width: int, dropout: float = 0.15) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.Linear(speech_size, width), nn.GELU(), nn.Dropout(dropout))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(4))
        self.drop = nn.Dropout(dropout)
        layers = (
            nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.attention = nn.ModuleList(layers)
        self.out = nn.Linear(width, motion_size - POSE_SIZE)

    def forward(self, speech: Tensor) -> Tensor:
        """Speech features [B,L,S] -> normalised motion [B,L,M], whose pose is zero."""
        x = self.into(speech)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = x + self.drop(F.gelu(convolution(norm(x).mT))).mT
        for layer in self.attention:
            x = layer(x)
        return F.pad(self.out(x), (POSE_SIZE, 0))
