"""A driving video -> motion codes and an identity code, read from the pixels of one fixed crop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from anitalker.faces.crop import Crop, crop_face, recrop
from anitalker.faces.detection import Face, FaceFinder, select_faces
from anitalker.faces.landmarks import OneEuro

BATCH_SIZE = 16  # crops encoded at once
# One-Euro filter: calm at rest, without lag behind a moving head (worth 0.4 dB in the face).
DRIVING_FILTER = {"cutoff": 5.0, "beta": 80.0}
# Crops uint8 [B,256,256,3] -> motion codes [B,M] and identity codes [B,D].
CodeReader = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def crop_frames(
    frames: Iterable[np.ndarray],
    finder: FaceFinder,
    which: str | int,
    crop: Callable[[np.ndarray, Face], Crop] = crop_face,
) -> Iterator[np.ndarray]:
    """Frames uint8 [H,W,3] -> crops uint8 [256,256,3], all in the region of the face in the first frame.

    The region is fixed, so that the head's movement stays in the codes. which: largest, or the index of a face.
    InputError if the first frame has no such face.
    """
    first_crop = None
    for frame in frames:
        if first_crop is None:
            first_crop = crop(frame, select_faces(finder.find(frame), which)[0])
        yield recrop(frame, first_crop).image


def read_codes(
    read: CodeReader,
    crops: Iterable[np.ndarray],
    total: int,
    progress: Callable[[str, int, int], None] | None = None,
    smoothing: dict[str, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """T crops uint8 [256,256,3] -> motion codes float32 [T,20] and the mean identity code [D], of unit length.

    total: the expected T, for progress("encode", done, total). smoothing: settings of the OneEuro filter that the
    motion codes pass; None: no filter.
    """
    motion, identity, smooth = [], [], OneEuro(**smoothing) if smoothing else np.asarray
    for batch in _batches(crops):
        motion_codes, identity_codes = read(torch.tensor(np.stack(batch)))
        motion += [smooth(code) for code in motion_codes.cpu().numpy()]
        identity.append(identity_codes.sum(0).cpu().numpy())
        if progress:
            progress("encode", len(motion), max(total, len(motion)))
    mean = np.sum(identity, 0)
    return np.stack(motion).astype(np.float32), (mean / np.linalg.norm(mean)).astype(np.float32)


def _batches(crops: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch = []
    for crop in crops:
        batch.append(crop)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch
