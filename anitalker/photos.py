"""More pictures of the person of a portrait (`--also`), and whether they show the same one.

Letters: N = 468 landmarks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from anitalker.config import InputError
from anitalker.decoder.mouth_patch import cut_patch, place_patch
from anitalker.dubbing.known_mouths import KnownMouth
from anitalker.dubbing.references import Reference
from anitalker.faces.crop import Crop
from anitalker.faces.detection import FaceFinder
from anitalker.faces.verifier import Verifier
from anitalker.media.portrait_file import find_portrait
from anitalker.models.base import Model, PathLike
from anitalker.person.person_file import PersonFile, is_person_file, read_person
from anitalker.runtime.transfer import to_pictures, to_tensor

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


@torch.inference_mode()
def read_known_mouths(
    model: Model, finder: FaceFinder, files: Sequence[PathLike], load_verifier: Callable[[], Verifier]
) -> list[KnownMouth]:
    """What pictures and person files show of mouths, for a dub: those that are not covered.

    InputError where a file cannot be read or shows no face, or for a model that cannot dub.
    """
    if not files:
        return []
    if len(files) > MAX_PHOTOS:
        raise InputError(f"also came {len(files)} times; allowed are up to {MAX_PHOTOS} pictures of the people")
    if model.dubbing is None:
        raise InputError(f"model {model.name} cannot dub: its codes move whole faces; take --model lite")
    known = []
    for file in files:
        name = Path(file).name
        person = read_person(file) if is_person_file(file) else None
        picture, faces = (
            find_portrait(file, finder, "also") if person is None else (person.portrait, finder.find(person.portrait))
        )
        if not faces:
            raise InputError(f"also shows no face: {name!r}; give a picture of somebody in the video")
        crop = model.crop(picture, faces[0])
        embedding = load_verifier()(crop.image[None], crop.landmarks[None])[0]
        motion, covered = model.dubbing.read_mouths(torch.from_numpy(crop.image)[None])
        landmarks = torch.from_numpy(np.array(crop.landmarks))[None]
        patch = to_pictures(cut_patch(to_tensor(crop.image), place_patch(landmarks)))[0]
        references = [] if covered[0] else [Reference(patch, crop.landmarks, motion[0].cpu().numpy())]
        if person is not None:
            references += _references_of(model, person, name)
        known.append(KnownMouth(name, embedding, tuple(references), "" if person is None else person.consent))
    return known


def _references_of(model: Model, person: PersonFile, name: str) -> list[Reference]:
    """The references in a person file; none, with a warning, where it was made for other weights."""
    traits = person.traits
    if person.model != model.fingerprint:
        log.warning("also: %r was made for other weights: only its portrait is used", name)
        return []
    rows = zip(traits.patches.numpy(), traits.landmarks.numpy(), traits.motion.numpy(), strict=True)
    return [Reference(*row) for row in rows]
