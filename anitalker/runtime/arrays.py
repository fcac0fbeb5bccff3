"""Formulas that numpy and torch compute alike: small operations cost a third in numpy, and torch has gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def library(array: np.ndarray | Tensor) -> Any:
    """The module whose functions take this array: numpy or torch."""
    return torch if isinstance(array, Tensor) else np


def on_host(tensor: Tensor) -> Any:
    """The float32 values as a numpy array where they lie on the host and no gradient is asked for; else as a tensor."""
    tensor = tensor.float()
    if tensor.device.type != "cpu" or (torch.is_grad_enabled() and tensor.requires_grad):
        return tensor
    return tensor.detach().numpy()
