"""Similarity transforms of crops, applied to pictures, landmarks and poses alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Similarity:
    """B transforms about the middle of a crop: roll [B] in radians, size [B] log scale, shift [B,2] in crop widths.

    A point p (crop widths from the middle) goes to exp(size) * rotation(roll) * p + shift.
    """

    roll: Tensor
    size: Tensor
    shift: Tensor

    def matrix(self) -> Tensor:
        """Rotation and scale [B,2,2], without the shift."""
        cos, sin = self.roll.cos(), self.roll.sin()
        return torch.stack([cos, -sin, sin, cos], -1).view(-1, 2, 2) * self.size.exp()[:, None, None]

    def landmarks(self, landmarks: Tensor) -> Tensor:
        """Landmarks [B,N,3] in crop widths -> transformed ones; depth is scaled only."""
        flat = (landmarks[..., :2] - 0.5) @ self.matrix().transpose(1, 2) + 0.5 + self.shift[:, None]
        return torch.cat([flat, landmarks[..., 2:] * self.size.exp()[:, None, None]], -1)

    def pictures(self, pictures: Tensor) -> Tensor:
        """Pictures, float [B,C,H,W] -> transformed ones, with reflected borders."""
        inverse = torch.linalg.inv(self.matrix().float())
        offset = -(inverse @ (2 * self.shift.float())[..., None])
        grid = F.affine_grid(torch.cat([inverse, offset], -1), list(pictures.shape), align_corners=False)
        return F.grid_sample(pictures, grid.to(pictures.dtype), padding_mode="reflection", align_corners=False)

    def pose_back(self, motion: Tensor) -> Tensor:
        """Motion codes [B,M] read from transformed pictures -> codes of the original pictures."""
        position = torch.linalg.solve(self.matrix(), (motion[:, 3:5] - self.shift)[..., None]).squeeze(-1)
        roll, size = motion[:, 2] - self.roll, motion[:, 5] - self.size
        return torch.cat([motion[:, :2], roll[:, None], position, size[:, None], motion[:, 6:]], 1)
