"""Motion -> a stream of frames: in batches, in constant memory, every face back in its picture.

Letters: B frames at once, T frames in all, M = 20 motion numbers, h x w pixels of the crop region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anitalker.face import Crop
from anitalker.paste import paste_back

if TYPE_CHECKING:
    from anitalker.model import Model, Subject


def to_tensor(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [h,w,3] -> [1,3,h,w] in [-1,1]."""
    return torch.tensor(picture, device=device).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_pictures(frames: Tensor) -> np.ndarray:
    """[B,3,h,w] in [-1,1] -> uint8 [B,h,w,3]."""
    whole = ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return whole.permute(0, 2, 3, 1).cpu().numpy()


def render(
    model: Model,
    subjects: Sequence[Subject],
    motions: Sequence[Tensor],
    batch_size: int,
    picture: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Frames, uint8 [H,W,3]: the subjects, each under its own motion [T,M], in `picture`.

    Without a picture the first subject's face crop, as the model draws it, is the frame.
    """
    for at in range(0, len(motions[0]), batch_size):
        parts = [motion[at : at + batch_size] for motion in motions]
        if picture is None:
            yield from model.draw(subjects[0], parts[0], full=False)
            continue
        streams = [model.draw(subject, part, full=True) for subject, part in zip(subjects, parts, strict=True)]
        for moved in zip(*streams, strict=True):
            yield paste_all(picture, moved, [subject.crop for subject in subjects])


def paste_all(picture: np.ndarray, moved: Sequence[np.ndarray], crops: Sequence[Crop]) -> np.ndarray:
    """Every patch in its place. Where crops overlap their changes add up, so that nobody is covered by a neighbour's
    still surroundings."""
    pasted = [paste_back(picture, patch, crop) for patch, crop in zip(moved, crops, strict=True)]
    if len(pasted) == 1:
        return pasted[0]
    change = sum(one.astype(np.int16) - picture for one in pasted)
    return (picture + change).clip(0, 255).astype(np.uint8)
