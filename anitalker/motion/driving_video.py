"""A driving video -> motion codes and identity code, read from the pixels of one fixed crop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from anitalker.faces.crop import Crop, crop_face, recrop
from anitalker.faces.detection import Face, FaceFinder, choose
from anitalker.faces.landmarks import OneEuro

BATCH = 16  # crops read at once

DRIVING_FILTER = {
    "cutoff": 5.0,
    "beta": 80.0,
}  # One-Euro: calm at rest, and no lag behind a moving head (0.4 dB in the face)
Read = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # crops uint8 [B,256,256,3] -> motion, identity


def crop_frames(
    frames: Iterable[np.ndarray],
    finder: FaceFinder,
    which: str | int,
    cut: Callable[[np.ndarray, Face], Crop] = crop_face,
) -> Iterator[np.ndarray]:
    """Frames uint8 [H,W,3] -> crops uint8 [256,256,3], all at the place of the face in the first frame.

    The place stays, so that the head's movement stays in the codes. InputError if the first frame has no such face.
    """
    place = None
    for frame in frames:
        if place is None:
            place = cut(frame, choose(finder.find(frame), which)[0])
        yield recrop(frame, place).image


def read_codes(
    read: Read,
    pictures: Iterable[np.ndarray],
    total: int,
    progress: Callable[[str, int, int], None] | None = None,
    calm: dict[str, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops -> motion codes [T,20], smoothed over time (OneEuro's settings; None: as they are), and their mean identity
    code, of unit length."""
    motion, identity, smooth = [], [], OneEuro(**calm) if calm else np.asarray
    for batch in _batches(pictures):
        codes, people = read(torch.tensor(np.stack(batch)))
        motion += [smooth(code) for code in codes.cpu().numpy()]
        identity.append(people.sum(0).cpu().numpy())
        if progress:
            progress("encode", len(motion), max(total, len(motion)))
    mean = np.sum(identity, 0)
    return np.stack(motion).astype(np.float32), (mean / np.linalg.norm(mean)).astype(np.float32)


def _batches(pictures: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
