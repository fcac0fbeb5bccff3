"""The smoothstep function, which eases motion, masks and borders."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from torch import Tensor

T = TypeVar("T", np.ndarray, Tensor)


def smoothstep(x: T, low: float = 0.0, high: float = 1.0) -> T:
    """Cubic Hermite step, 3t^2 - 2t^3: 0 up to `low`, 1 from `high` on, flat at both ends; any shape."""
    t: Any = x
    if (low, high) != (0.0, 1.0):
        t = (t - low) / (high - low)
    t = t.clip(0, 1)
    return t * t * (3 - 2 * t)
