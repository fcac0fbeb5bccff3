"""Mouths that are known from beside the video: more pictures of its people, and person files.

Letters: D numbers of an embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from anitalker.config import InputError
from anitalker.dubbing.people import People
from anitalker.dubbing.references import Reference, opening_class

MAX_REFERENCES = 8  # of one mouth: the synthesiser learned from up to eight pictures
DIFFERENT, DOUBTFUL = 0.2, 0.4  # cosine of embeddings: below, it is somebody else; it may be
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownMouth:
    """What a picture, or a person file, shows of somebody: its file's name, embedding [D] of unit length, references;
    consent: who agreed, of a person file."""

    name: str
    embedding: np.ndarray
    references: tuple[Reference, ...]
    consent: str = ""


def by_person(known: Sequence[KnownMouth], people: People, persons: Iterable[int]) -> dict[int, list[Reference]]:
    """References of the persons of a video, each given to the one whom it resembles most.

    A warning where that is doubtful; InputError where a file shows nobody of the video.
    """
    numbers, given = sorted(set(persons)), dict[int, list[Reference]]()
    for mouth in known:
        alike = [float(mouth.embedding @ people.embedding(number)) for number in numbers]
        best = int(np.argmax(alike))
        if alike[best] < DIFFERENT:
            raise InputError(f"also shows nobody of the video: {mouth.name!r}; give a picture of somebody in it")
        if alike[best] < DOUBTFUL:
            log.warning("also may show somebody else than person %d of the video: %r", numbers[best], mouth.name)
        given.setdefault(numbers[best], []).extend(mouth.references)
    return given


def with_known(references: Sequence[Reference], known: Sequence[Reference]) -> list[Reference]:
    """References out of a video, and known ones of openings that they lack: their light may be another, but teeth that
    are somebody's own are better than invented ones. At most MAX_REFERENCES."""
    shown = {opening_class(reference.landmarks) for reference in references}
    lacking = [reference for reference in known if opening_class(reference.landmarks) not in shown]
    return [*references, *lacking][:MAX_REFERENCES]
