"""Paste a face crop back into its picture; the inverse of anitalker/faces/crop.py.

Pictures are uint8 [H,W,3] RGB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from anitalker.runtime.smoothstep import smoothstep

if TYPE_CHECKING:
    from anitalker.faces.crop import Crop

FEATHER = 0.06  # of the crop's side, over which the patch fades into the picture at the crop's border


def paste_back(picture: np.ndarray, patch: np.ndarray, frame: Crop) -> np.ndarray:
    """A new picture with `patch` uint8 [side,side,3] in place of the crop; the inverse of `crop_pixels`.

    At the crop's border the picture is kept to the bit; it fades into the patch over FEATHER of the side. What lies
    outside the picture is dropped.
    """
    side = int(frame.side)
    assert patch.shape == (side, side, 3), f"patch is {patch.shape}, the crop is {side} pixels wide"
    x, y = int(frame.origin[0]), int(frame.origin[1])
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, picture.shape[1]), min(y + side, picture.shape[0])
    out = picture.copy()
    if x0 >= x1 or y0 >= y1:
        return out
    inside = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    below = picture[y0:y1, x0:x1].astype(np.float32)
    blended = below + feather(side)[inside][..., None] * (patch[inside].astype(np.float32) - below)
    out[y0:y1, x0:x1] = np.rint(blended).astype(np.uint8)
    return out


@lru_cache(8)  # every frame of a video has the same side
def feather(side: int) -> np.ndarray:
    """Weight of the patch [side,side]: 0 at the border, 1 from FEATHER of the side inwards, smooth in between."""
    steps = np.minimum(np.arange(side), np.arange(side)[::-1]) / max(FEATHER * side, 1)
    ramp = smoothstep(np.clip(steps, 0, 1).astype(np.float32))
    weight = ramp[:, None] * ramp[None]
    weight.flags.writeable = False
    return weight
