"""Paste a face crop back into its picture; the inverse of anitalker/faces/crop.py.

Pictures are uint8 [H,W,3] RGB. Patches are uint8 [h,w,3]: the part of a crop that lies in the picture (`seen_part`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from anitalker.faces.crop import Crop, seen_part
from anitalker.runtime.smoothstep import smoothstep

FEATHER = 0.06  # of the crop's side, over which the patch fades into the picture at the crop's border


def paste_back(picture: np.ndarray, patch: np.ndarray, frame: Crop) -> np.ndarray:
    """A new picture with `patch` in place of the crop; the inverse of `crop_pixels` of the part that is seen.

    At the crop's border the picture is kept to the bit; it fades into the patch over FEATHER of the side.
    """
    out = picture.copy()
    place = _place(frame)
    out[place] = _blend(picture[place], patch, frame)
    return out


def paste_all(picture: np.ndarray, patches: Sequence[np.ndarray], crops: Sequence[Crop]) -> np.ndarray:
    """A new picture with every patch in place of its crop.

    Where crops overlap their changes are added, so that the unmoved surroundings of a face cover no other face.
    """
    if len(patches) == 1:
        return paste_back(picture, patches[0], crops[0])
    sums = picture.astype(np.int16)
    for patch, frame in zip(patches, crops, strict=True):
        place = _place(frame)
        sums[place] += _blend(picture[place], patch, frame) - picture[place].astype(np.int16)
    return sums.clip(0, 255).astype(np.uint8)


def _place(frame: Crop) -> tuple[slice, slice]:
    """Rows and columns of the picture that lie in the crop."""
    (rows, columns), (x, y) = seen_part(frame), (int(v) for v in frame.origin)
    return slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x)


def _blend(below: np.ndarray, patch: np.ndarray, frame: Crop) -> np.ndarray:
    """The picture's pixels in the crop, uint8 [h,w,3], under the patch with its feathered border."""
    assert patch.shape == below.shape, f"patch is {patch.shape}, what is seen of the crop {below.shape}"
    rows, columns = (feather(int(frame.side))[part] for part in seen_part(frame))
    pixels = below.astype(np.float32)
    pixels += (rows[:, None] * columns)[..., None] * (patch.astype(np.float32) - pixels)
    return np.rint(pixels).astype(np.uint8)


@lru_cache(8)  # every frame of a video has the same side
def feather(side: int) -> np.ndarray:
    """Weight of the patch along a side [side]: 0 at both ends, smooth, 1 from FEATHER of the side inwards."""
    steps = np.minimum(np.arange(side), np.arange(side)[::-1]) / max(FEATHER * side, 1)
    weight = smoothstep(np.clip(steps, 0, 1).astype(np.float32))
    weight.flags.writeable = False
    return weight
