"""A portrait: a picture and the faces in it that will move, prepared once.

Faces are found in the picture as it came; then it is reduced to the size of the video, and everything after works on
the reduced picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anitalker.config import CROP, ORIGINAL_SIZE, InputError, RenderOptions, check_size
from anitalker.faces import restoration
from anitalker.faces.crop import Crop, finer_image
from anitalker.faces.detection import Face, FaceFinder, select_faces
from anitalker.faces.verifier import Verifier
from anitalker.media.portrait_file import find_portrait
from anitalker.models.base import FaceCheck, Model, PathLike, PersonTraits, PreparedFace
from anitalker.person.person_file import PersonFile, is_person_file, read_person
from anitalker.photos import read_photos

SMALL_FACE_PIXELS = 48  # of a face's longer side in the video
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portrait:
    """A picture, uint8 [H,W,3], and its chosen faces, ready to move.

    indices: of these faces among the faces found; found: the chosen faces, in pixels of `picture`; size: to which the
    picture was reduced, as in RenderOptions; photos: crops of more pictures of each face; traits of each face, and
    consent (who agreed): of a person file; files: that it was read from; derived: what `scene` keeps of it.
    """

    picture: np.ndarray
    faces: tuple[PreparedFace, ...]
    indices: tuple[int, ...] = ()
    found: tuple[Face, ...] = ()
    size: int | str = ORIGINAL_SIZE
    photos: tuple[tuple[Crop, ...], ...] = ()
    traits: tuple[PersonTraits | None, ...] = ()
    consent: str = ""
    files: tuple[Path, ...] = ()
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)


def read_portrait(
    picture: PathLike, finder: FaceFinder, what: str = "portrait"
) -> tuple[np.ndarray, list[Face], PersonFile | None]:
    """Read a picture, a video or a person file as uint8 [H,W,3] and find its faces, the largest first.

    The largest face of a person file is its person's. InputError where the file is none of them.
    """
    if not is_person_file(picture):
        return *find_portrait(picture, finder, what), None
    person = read_person(picture)
    return person.portrait, finder.find(person.portrait), person


def prepare_portrait(
    model: Model,
    finder: FaceFinder,
    picture: PathLike | np.ndarray,
    choices: Iterable[str | int],
    load_enhancer: Callable[[], restoration.Network] | None = None,
    size: int | str = RenderOptions.size,
    also: Sequence[PathLike] = (),
    load_verifier: Callable[[], Verifier] | None = None,
) -> Portrait:
    """Find the faces of a picture (pixels, or a file: picture, video or person file) and prepare the chosen ones.

    choices: largest, all, or an index, each; load_enhancer: gives the network that draws the chosen faces again before
    they are prepared; size, also: as in RenderOptions; load_verifier: gives what tells whose photos they are.
    InputError where no face is found or a chosen one cannot be animated.
    """
    size, person = check_size(size), None
    if isinstance(picture, np.ndarray):
        what, source, faces = "the picture", picture, finder.find(picture)
    else:
        what, (source, faces, person) = f"the portrait {str(picture)!r}", read_portrait(picture, finder)
    chosen = {id(face) for choice in choices for face in select_faces(faces, choice, what)}
    indices = [index for index, face in enumerate(faces) if id(face) in chosen]
    pixels, faces = reduce_picture(source, size), [faces[index] for index in indices]
    if pixels is not source:
        faces = _scaled(faces, source, pixels)
        _warn_of_small_faces(indices, faces, pixels)
    prepared = _prepare(model, pixels, faces, source)
    for index, face, ready in zip(indices, faces, prepared, strict=True):
        _report(index, model.check_face(face, ready.crop, finder, ready))
    photos = ((),) * len(faces)
    if also and load_verifier is not None:
        photos = read_photos(model, finder, also, [face.crop for face in prepared], load_verifier)
    if load_enhancer is not None:
        pixels = source = restoration.restore(pixels, [face.landmarks for face in faces], load_enhancer())
    traits = tuple(_traits(model, person, picture) if index == 0 else None for index in indices)
    if any(photos) or load_enhancer is not None or any(known is not None for known in traits):
        prepared = _prepare(model, pixels, faces, source, photos, traits)
    consent = "" if person is None else person.consent
    files = () if isinstance(picture, np.ndarray) else (Path(picture), *map(Path, also))
    return Portrait(pixels, prepared, tuple(indices), tuple(faces), size, tuple(photos), traits, consent, files)


def _traits(model: Model, person: PersonFile | None, file: object) -> PersonTraits | None:
    """What a person file tells the model; None, with a warning, where it was made for other weights."""
    if person is None or person.model == model.fingerprint:
        return None if person is None else person.traits
    log.warning(
        "%r was made for other weights than those of model %s: only its portrait is used; make it again with "
        "anitalker tune",
        *(Path(str(file)).name, model.name),
    )
    return None


def resize_portrait(model: Model, portrait: Portrait, size: int | str) -> Portrait:
    """A portrait prepared again at a smaller size, from its own picture and faces; itself if it is no larger."""
    pixels = reduce_picture(portrait.picture, check_size(size))
    if pixels is portrait.picture:
        return portrait
    faces = _scaled(portrait.found, portrait.picture, pixels)
    prepared = _prepare(model, pixels, faces, portrait.picture, portrait.photos, portrait.traits)
    return replace(portrait, picture=pixels, faces=prepared, found=tuple(faces), size=size)


def reduce_picture(picture: np.ndarray, size: int | str) -> np.ndarray:
    """Reduce a picture, uint8 [H,W,3], to a shorter side of at most `size` pixels (Lanczos); both sides become even.

    The picture itself where it is no larger, or where size is ORIGINAL_SIZE.
    """
    height, width = picture.shape[:2]
    short = min(height, width)
    if isinstance(size, str) or short <= size:
        return picture
    short_side, long_side = size // 2 * 2, 2 * round(max(height, width) * size / short / 2)
    sides = (short_side, long_side) if width < height else (long_side, short_side)
    return np.asarray(Image.fromarray(picture).resize(sides, Image.Resampling.LANCZOS))


def _scaled(faces: Iterable[Face], source: np.ndarray, pixels: np.ndarray) -> list[Face]:
    """Faces of a picture, where they are in its resized copy."""
    y, x = (pixels.shape[axis] / source.shape[axis] for axis in (0, 1))
    return [face.scaled(x, y) for face in faces]


def _prepare(
    model: Model,
    pixels: np.ndarray,
    faces: Sequence[Face],
    source: np.ndarray,
    photos: Sequence[Sequence[Crop]] = (),
    traits: Sequence[PersonTraits | None] = (),
) -> tuple[PreparedFace, ...]:
    """Prepare faces of a picture. What networks see of a small one comes from `source`, where that is larger.

    photos: crops of more pictures of each face; traits: of its person.
    """
    crops = [_crop(model, pixels, face, source) for face in faces]
    known = zip(crops, photos or ((),) * len(crops), traits or (None,) * len(crops), strict=True)
    return tuple(model.prepare(pixels, *values) for values in known)


def _crop(model: Model, pixels: np.ndarray, face: Face, source: np.ndarray) -> Crop:
    crop = model.crop(pixels, face)
    if source is pixels or crop.side >= CROP:
        return crop
    return replace(crop, image=finer_image(source, crop))


def _warn_of_small_faces(indices: Iterable[int], faces: Iterable[Face], pixels: np.ndarray) -> None:
    height, width = pixels.shape[:2]
    for index, face in zip(indices, faces, strict=True):
        if face.size < SMALL_FACE_PIXELS:
            log.warning(
                "face %d has %d pixels in a video of %dx%d; a larger size, or original, shows more of it",
                *(index, face.size, width, height),
            )


def _report(index: int, check: FaceCheck) -> None:
    """Log what is doubtful about a face, or covers it; InputError if it cannot be animated."""
    if check.rejected:
        raise InputError(f"face {index} cannot be animated: {check.reason}; give a picture of an uncovered face")
    if check.reason:
        log.warning("face %d may not move well: %s", index, check.reason)
    for sentence in check.occlusion_warnings:
        log.warning("face %d: %s", index, sentence)
