"""The smooth step that eases motions, masks and borders."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from torch import Tensor

T = TypeVar("T", np.ndarray, Tensor)


def smoothstep(x: T, low: float = 0.0, high: float = 1.0) -> T:
    """Cubic Hermite step, 3t^2 - 2t^3: 0 up to `low`, 1 from `high` on, flat at both ends; any shape."""
    if (low, high) != (0.0, 1.0):
        x = (x - low) / (high - low)
    t = x.clip(0, 1)
    return t * t * (3 - 2 * t)
