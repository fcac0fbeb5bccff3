"""A person file of a few photos: portrait, references of the mouth and neutral face. Nothing is trained.

Letters: K photos, N = 468 landmarks, M = 20 motion numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anitalker.config import InputError
from anitalker.decoder.mouth_patch import cut_patch, place_patch
from anitalker.dubbing.references import sharpness
from anitalker.faces.crop import Crop
from anitalker.faces.detection import FaceFinder
from anitalker.faces.landmarks import eye_opening, lip_opening
from anitalker.faces.verifier import Verifier
from anitalker.media.images import PICTURE_SUFFIXES
from anitalker.media.portrait_file import find_portrait
from anitalker.models.base import PathLike, PersonTraits, ProgressCallback
from anitalker.models.lite import Lite
from anitalker.motion.manner import USUAL
from anitalker.person.person_file import MAX_REFERENCES, as_stored
from anitalker.person.selection import Frames, choose_portrait
from anitalker.person.takes import ALIKE_SIZE, DIFFERENT, DOUBTFUL, VIDEO_SUFFIXES, turn_weights
from anitalker.runtime.transfer import to_bytes, to_tensors

MIN_PHOTOS, MAX_PHOTOS = 2, 1 + MAX_REFERENCES
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfPhotos:
    """What photos tell: the portrait as the file will hold it, uint8 [H,W,3], its crop, and traits."""

    picture: np.ndarray
    crop: Crop
    traits: PersonTraits


def find_photos(sources: Sequence[PathLike]) -> list[Path]:
    """The pictures among files and in folders without videos; empty where videos came. InputError for both."""
    photos: list[Path] = []
    others = 0
    for source in sources:
        path = Path(source)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        inside = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
        filmed = path.is_dir() and any(file.suffix.lower() in VIDEO_SUFFIXES for file in files)
        if filmed or not inside:
            others += 1
        else:
            photos += inside
    if photos and others:
        raise InputError("videos and photos came together; give one of the two (--portrait takes a photo)")
    return photos


def learn_from_photos(
    model: Lite,
    finder: FaceFinder,
    load_verifier: Callable[[], Verifier],
    photos: Sequence[Path],
    wanted: str | None = None,
    progress: ProgressCallback | None = None,
) -> OfPhotos:
    """Choose the portrait (wanted: a file, else the most frontal, neutral, sharp photo); the others are references.

    InputError for too few or too many photos, one without a face or with two people, or of somebody else.
    """
    files = [*photos, *([Path(wanted)] if wanted is not None and Path(wanted) not in photos else [])]
    if not MIN_PHOTOS <= len(files) <= MAX_PHOTOS:
        came = f"{len(files)} photo{'' if len(files) == 1 else 's'} came"
        raise InputError(f"{came}; give {MIN_PHOTOS} to {MAX_PHOTOS} of one person, or a video")
    pictures, crops = [], []
    for number, file in enumerate(files):
        picture, crop = _read(model, finder, file)
        pictures.append(picture)
        crops.append(crop)
        if progress:
            progress("pictures", number + 1, len(files))
    _check_same(load_verifier(), files, crops)
    frames, covered = _frames(model, crops)
    chosen = choose_portrait(frames) if wanted is None else files.index(Path(wanted))
    points = torch.from_numpy(frames.landmarks)
    weight = turn_weights(torch.from_numpy(frames.motion))
    shapes = model.space.neutral(points.to(model.device), torch.from_numpy(frames.motion).to(model.device)).cpu()
    neutral = (weight[:, None, None] * shapes).sum(0) / weight.sum()
    motion = model.space.beyond(
        neutral[None].to(model.device), points.to(model.device), torch.from_numpy(frames.motion).to(model.device)
    ).cpu()
    kept = np.flatnonzero(~covered & (np.arange(len(files)) != chosen))
    if not len(kept):
        raise InputError("something covers the mouth in all photos but the portrait; give one that shows it")
    patches = to_bytes(cut_patch(to_tensors(torch.from_numpy(frames.crops[kept])), place_patch(points[kept])))
    picture = as_stored(pictures[chosen])
    crop = model.crop(picture, finder.find(picture)[0])
    return OfPhotos(picture, crop, PersonTraits(patches, points[kept], motion[kept], neutral, USUAL))


def _read(model: Lite, finder: FaceFinder, file: Path) -> tuple[np.ndarray, Crop]:
    picture, faces = find_portrait(file, finder, "photo")
    if not faces:
        raise InputError(f"photo shows no face: {file.name!r}; give another")
    if len(faces) > 1 and faces[1].size > ALIKE_SIZE * faces[0].size:
        raise InputError(f"photo shows {len(faces)} people: {file.name!r}; give one that shows one person, or cut it")
    return picture, model.crop(picture, faces[0])


def _check_same(verifier: Verifier, files: Sequence[Path], crops: Sequence[Crop]) -> None:
    """InputError, or a warning, where a photo shows somebody else than the first one."""
    known = verifier(np.stack([crop.image for crop in crops]), np.stack([crop.landmarks for crop in crops]))
    for file, alike in zip(files[1:], known[1:] @ known[0], strict=True):
        if alike < DIFFERENT:
            raise InputError(f"{file.name!r} shows somebody else than {files[0].name!r}; give photos of one person")
        if alike < DOUBTFUL:
            log.warning("%s may show somebody else than %s", file.name, files[0].name)


def _frames(model: Lite, crops: Sequence[Crop]) -> tuple[Frames, np.ndarray]:
    """The photos as frames, none of them held out, and whether something covers the mouth, bool [K]."""
    images, points = (np.stack([getattr(crop, name) for crop in crops]) for name in ("image", "landmarks"))
    motion, covered = model.read_mouths(torch.from_numpy(images))
    count = len(crops)
    sharp = np.array([sharpness(image, face) for image, face in zip(images, points, strict=True)])
    numbers, lips, eyes = np.arange(count), lip_opening(points), eye_opening(points)
    take, tail = np.zeros(count, int), np.zeros(count, bool)
    frames = Frames(take, numbers, images, points, motion.cpu().numpy(), lips, eyes, sharp, tail)
    return frames, covered.cpu().numpy()
