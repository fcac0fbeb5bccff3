"""Put what moves back into its picture; the inverse of anitalker/faces/crop.py.

Pictures are uint8 [H,W,3] RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from anitalker.faces.crop import Crop, seen_part
from anitalker.runtime.smoothstep import smoothstep

FEATHER = 0.06  # of the crop's side, over which a frame fades into the picture at the crop's border


@dataclass(frozen=True)
class Patch:
    """Pixels, uint8 [h,w,3], that replace the picture's from row `top` and column `left` on."""

    top: int
    left: int
    pixels: np.ndarray

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        height, width = self.pixels.shape[:2]
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def paste_all(picture: np.ndarray, patches: Sequence[Patch]) -> np.ndarray:
    """A new picture with every patch in its place.

    Where patches overlap their changes are added, so that the unmoved surroundings of a face cover no other face.
    """
    if len(patches) == 1:
        out = picture.copy()
        out[patches[0].place] = patches[0].pixels
        return out
    sums = picture.astype(np.int16)
    for patch in patches:
        sums[patch.place] += patch.pixels - picture[patch.place].astype(np.int16)
    return sums.clip(0, 255).astype(np.uint8)


def crop_place(frame: Crop) -> tuple[slice, slice]:
    """Rows and columns of the picture that lie in the crop."""
    (rows, columns), (x, y) = seen_part(frame), (int(v) for v in frame.origin)
    return slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x)


def feathered(picture: np.ndarray, pixels: np.ndarray, frame: Crop) -> Patch:
    """What is seen of a crop, uint8 [h,w,3], as a patch of its picture.

    At the crop's border the picture is kept to the bit; it fades into the crop over FEATHER of the side.
    """
    place = crop_place(frame)
    below = picture[place].astype(np.float32)
    assert pixels.shape == below.shape, f"pixels are {pixels.shape}, what is seen of the crop {below.shape}"
    rows, columns = (feather(int(frame.side))[part] for part in seen_part(frame))
    below += (rows[:, None] * columns)[..., None] * (pixels.astype(np.float32) - below)
    return Patch(place[0].start, place[1].start, np.rint(below).astype(np.uint8))


@lru_cache(8)  # every frame of a video has the same side
def feather(side: int) -> np.ndarray:
    """Weight of a frame along a side [side]: 0 at both ends, smooth, 1 from FEATHER of the side inwards."""
    steps = np.minimum(np.arange(side), np.arange(side)[::-1]) / max(FEATHER * side, 1)
    weight = smoothstep(np.clip(steps, 0, 1).astype(np.float32))
    weight.flags.writeable = False
    return weight
