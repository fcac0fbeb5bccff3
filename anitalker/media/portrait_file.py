"""Read a portrait file and find its faces: a picture, or the first good frame of a video."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import FPS, InputError
from anitalker.files import existing_file
from anitalker.media.images import MAX_SIDE, MIN_SIDE, NoPicture, read_picture
from anitalker.media.video import probe, read_frames

if TYPE_CHECKING:
    from anitalker.faces.detection import Face, FaceFinder

FRAME_STEP = 12  # of a video: two frames per second are searched
MAX_SEARCHED_FRAMES = 60  # the first half minute
GOOD_SCORE = 0.7  # of a face at which the search stops; else the best frame is taken
log = logging.getLogger(__name__)


def find_portrait(path: str | os.PathLike, finder: FaceFinder, what: str = "portrait") -> tuple[np.ndarray, list[Face]]:
    """Read a picture or video file as uint8 [H,W,3] and find its faces, the largest first; an empty list if none.

    Of a video the first of MAX_SEARCHED_FRAMES frames is taken that has a face of GOOD_SCORE, else the one with the
    highest score; if it is to be a portrait, a warning says that it stands still. InputError where the file is neither.
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
    width, height = media.shown_size
    if max(width, height) > MAX_SIDE or min(width, height) < MIN_SIDE:
        raise InputError(
            f"{what} is a video of {width}x{height} pixels: {str(path)!r}; "
            f"give one of {MIN_SIDE} to {MAX_SIDE} pixels a side, or a picture"
        )
    best, best_number = None, 0
    faces: list[Face] = []
    best_score = -1.0
    with contextlib.closing(read_frames(path, what=what)) as frames:
        searched = itertools.islice(frames, 0, MAX_SEARCHED_FRAMES * FRAME_STEP, FRAME_STEP)
        for number, frame in enumerate(searched):
            candidates = finder.find(frame)
            score = max((face.score for face in candidates), default=0.0)
            if score > best_score:
                best, faces, best_score, best_number = frame, candidates, score, number
            if score >= GOOD_SCORE:
                break
    assert best is not None  # read_frames yields a frame or raises
    if what == "portrait" and faces:
        seconds = best_number * FRAME_STEP / FPS
        log.warning("the portrait is a video: its frame at %.1f s is used, and stands still", seconds)
    return best, faces
