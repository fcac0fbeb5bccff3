"""Formulas that numpy and torch compute alike: small operations cost a third in numpy, and torch has gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def library(array: np.ndarray | Tensor) -> Any:
    """The module whose functions take this array: numpy or torch."""
    return torch if isinstance(array, Tensor) else np


def is_on_host(*tensors: Tensor) -> bool:
    """Whether they lie in the host's memory and no gradient is asked for."""
    return not any(x.device.type != "cpu" or (torch.is_grad_enabled() and x.requires_grad) for x in tensors)


def on_host(*tensors: Tensor) -> tuple[Any, ...]:
    """The float32 values of tensors as numpy arrays where `is_on_host`; else as tensors."""
    if not is_on_host(*tensors):
        return tuple(tensor.float() for tensor in tensors)
    return tuple(tensor.detach().float().numpy() for tensor in tensors)
