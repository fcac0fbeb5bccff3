"""A driving video -> motion codes and identity code, read from the pixels of one fixed crop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from anitalker.face import FaceFinder, choose, crop, crop_again
from anitalker.landmarks import OneEuro
from anitalker.motion_space import MotionSpace

BATCH = 16  # crops read at once

CALM = {"cutoff": 5.0, "beta": 80.0}  # One-Euro: calm at rest, and no lag behind a moving head (0.4 dB in the face)


def crops(frames: Iterable[np.ndarray], finder: FaceFinder, which: str | int) -> Iterator[np.ndarray]:
    """Frames uint8 [H,W,3] -> crops uint8 [256,256,3], all at the place of the face in the first frame.

    The place stays, so that the head's movement stays in the codes. InputError if the first frame has no such face.
    """
    place = None
    for frame in frames:
        if place is None:
            place = crop(frame, choose(finder.find(frame), which)[0])
        yield crop_again(frame, place).image


def read_codes(
    space: MotionSpace,
    pictures: Iterable[np.ndarray],
    device: torch.device,
    total: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops -> motion codes [T,20], smoothed over time, and their mean identity code [64], of unit length."""
    motion, identity, smooth = [], [], OneEuro(**CALM)
    for batch in _batches(pictures):
        codes = _read(space, batch, device)
        motion += [smooth(code) for code in codes.motion.cpu().numpy()]
        identity.append(codes.identity.sum(0).cpu().numpy())
        if progress:
            progress("encode", len(motion), max(total, len(motion)))
    mean = np.sum(identity, 0)
    return np.stack(motion).astype(np.float32), (mean / np.linalg.norm(mean)).astype(np.float32)


@torch.inference_mode()
def _read(space: MotionSpace, pictures: list[np.ndarray], device: torch.device):
    stacked = torch.tensor(np.stack(pictures), device=device).permute(0, 3, 1, 2)
    return space(stacked.float() / 127.5 - 1)


def _batches(pictures: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
