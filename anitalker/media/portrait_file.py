"""A portrait file -> its pixels and the faces in them: a picture, or the first good frame of a video."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import InputError
from anitalker.files import existing_file
from anitalker.media.images import LARGEST, SMALLEST, NoPicture, read_picture
from anitalker.media.video import probe, read_frames

if TYPE_CHECKING:
    from anitalker.faces.detection import Face, FaceFinder

EVERY = 12  # frames of a video that stands for a portrait: two looks a second
LOOKS = 60  # at most: the first half minute
GOOD = 0.7  # score of a face that is good enough to stop at; else the best one seen is taken


def find_portrait(path: str | os.PathLike, finder: FaceFinder, what: str = "portrait") -> tuple[np.ndarray, list[Face]]:
    """A picture or video file -> uint8 [H,W,3], and its faces, the largest first (none: an empty list).

    Of a video the first of LOOKS frames whose surest face scores GOOD, else the one with the surest face.
    """
    try:
        pixels = read_picture(path, what)
    except NoPicture as error:
        if not _is_video(path, what):
            raise error from None
        return _best_frame(path, finder, what)
    return pixels, finder.find(pixels)


def _is_video(path: str | os.PathLike, what: str) -> bool:
    try:
        media = probe(existing_file(path, what), what)
    except InputError:
        return False
    return media.video_codec is not None and media.width is not None


def _best_frame(path: str | os.PathLike, finder: FaceFinder, what: str) -> tuple[np.ndarray, list[Face]]:
    media = probe(path, what)
    if max(media.width, media.height) > LARGEST or min(media.width, media.height) < SMALLEST:
        raise InputError(
            f"{what} is a video of {media.width}x{media.height} pixels: {str(path)!r}; "
            f"give one of {SMALLEST} to {LARGEST} pixels a side, or a picture"
        )
    best, faces, surest = None, [], -1.0
    frames = read_frames(path, what=what)
    try:
        for frame in itertools.islice(frames, 0, LOOKS * EVERY, EVERY):
            found = finder.find(frame)
            score = max((one.score for one in found), default=0.0)
            if score > surest:
                best, faces, surest = frame, found, score
            if score >= GOOD:
                break
    finally:
        frames.close()
    return best, faces
