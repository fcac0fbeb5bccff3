"""A portrait: a picture and the faces in it that will move, prepared once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from anitalker.config import InputError
from anitalker.faces import restoration
from anitalker.faces.detection import Face, FaceFinder, select_faces
from anitalker.media.portrait_file import find_portrait
from anitalker.models.base import FaceCheck, Model, PathLike, PreparedFace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portrait:
    """A picture, uint8 [H,W,3], and its chosen faces, ready to move."""

    picture: np.ndarray
    faces: tuple[PreparedFace, ...]
    indices: tuple[int, ...] = ()  # of these faces among the faces found


def prepare_portrait(
    model: Model,
    finder: FaceFinder,
    picture: PathLike | np.ndarray,
    choices: Iterable[str | int],
    load_enhancer: Callable[[], restoration.Network] | None = None,
) -> Portrait:
    """Find the faces of a picture (pixels, or a file, which may be a video) and prepare the chosen ones.

    choices: largest, all, or an index, each; load_enhancer: gives the network that draws the chosen faces again before
    they are prepared. InputError where no face is found or a chosen one cannot be animated.
    """
    if isinstance(picture, np.ndarray):
        pixels, faces = picture, finder.find(picture)
    else:
        pixels, faces = find_portrait(picture, finder)
    chosen = {id(face) for choice in choices for face in select_faces(faces, choice)}
    indices = [index for index, face in enumerate(faces) if id(face) in chosen]
    faces = [faces[index] for index in indices]
    prepared = _prepare(model, pixels, faces)
    for index, face, ready in zip(indices, faces, prepared, strict=True):
        _report(index, model.check_face(face, ready.crop, finder, ready))
    if load_enhancer is not None:
        pixels = restoration.restore(pixels, [face.landmarks for face in faces], load_enhancer())
        prepared = _prepare(model, pixels, faces)
    return Portrait(pixels, prepared, tuple(indices))


def _prepare(model: Model, pixels: np.ndarray, faces: Iterable[Face]) -> tuple[PreparedFace, ...]:
    return tuple(model.prepare(pixels, model.crop(pixels, face)) for face in faces)


def _report(index: int, check: FaceCheck) -> None:
    """Log what is doubtful about a face, or covers it; InputError if it cannot be animated."""
    if check.rejected:
        raise InputError(f"face {index} cannot be animated: {check.reason}; give a picture of an uncovered face")
    if check.reason:
        log.warning("face %d may not move well: %s", index, check.reason)
    for sentence in check.occlusion_warnings:
        log.warning("face %d: %s", index, sentence)
