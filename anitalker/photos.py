"""More pictures of the person of a portrait (`--also`), and whether they show the same one.

Letters: N = 468 landmarks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from anitalker.config import InputError
from anitalker.faces.crop import Crop
from anitalker.faces.detection import FaceFinder
from anitalker.faces.verifier import Verifier
from anitalker.media.portrait_file import find_portrait
from anitalker.models.base import Model, PathLike

DOUBTFUL = 0.4  # cosine of embeddings under which two pictures may show two people: 5% of one person's are below
MAX_PHOTOS = 7  # beside the portrait: the mouth synthesiser learned from up to eight pictures
log = logging.getLogger(__name__)


def read_photos(
    model: Model,
    finder: FaceFinder,
    files: Sequence[PathLike],
    faces: Sequence[Crop],
    load_verifier: Callable[[], Verifier],
) -> list[tuple[Crop, ...]]:
    """Crops of the largest face of each picture, by the portrait's face that it resembles most: one tuple per face.

    A warning where it may be somebody else. InputError where a picture cannot be read or shows no face.
    """
    photos: list[list[Crop]] = [[] for _ in faces]
    if not files:
        return [() for _ in faces]
    if len(files) > MAX_PHOTOS:
        raise InputError(f"also came {len(files)} times; allowed are up to {MAX_PHOTOS} pictures of one person")
    verifier = load_verifier()
    known = verifier(np.stack([face.image for face in faces]), np.stack([face.landmarks for face in faces]))
    for file in files:
        picture, found = find_portrait(file, finder, "also")
        if not found:
            raise InputError(f"also shows no face: {str(file)!r}; give a picture of the same person")
        crop = model.crop(picture, found[0])
        alike = verifier(crop.image[None], crop.landmarks[None])[0] @ known.T
        if alike.max() < DOUBTFUL:
            log.warning("also may show somebody else than the portrait: %r", str(file))
        photos[int(alike.argmax())].append(crop)
    return [tuple(crops) for crops in photos]
