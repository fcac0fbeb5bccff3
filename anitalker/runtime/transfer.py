"""Pictures and frames between host and device: uint8 arrays on the host, float tensors in [-1,1] on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_tensor(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [h,w,3] -> [1,3,h,w] in [-1,1]."""
    return torch.tensor(picture, device=device).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_tensors(pictures: Tensor) -> Tensor:
    """uint8 [B,h,w,3] -> [B,3,h,w] in [-1,1], on the same device."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(frames: Tensor) -> np.ndarray:
    """[B,3,h,w] in [-1,1] -> uint8 [B,h,w,3] on the host."""
    return to_bytes(frames).cpu().numpy()


def to_bytes(frames: Tensor) -> Tensor:
    """[B,3,h,w] in [-1,1] -> uint8 [B,h,w,3] on the same device."""
    scaled = torch.add(127.5, frames, alpha=127.5).round_().clamp_(0, 255)
    return scaled.permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)
