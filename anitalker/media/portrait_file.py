"""Read a portrait file and find its faces: a picture, or the first good frame of a video or an animation."""

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

    Of a video, and of an animation whose first frame shows no face, `search_video` takes a frame; if it is to be a
    portrait, a warning says that it stands still. InputError where the file is neither picture nor video.
    """
    try:
        pixels = read_picture(path, what)
    except NoPicture as error:
        if not _is_video(path, what):
            raise error from None
        _check_size(path, what)
        number, frame, faces = search_video(path, finder, what)
        if what == "portrait" and faces:
            log.warning(
                "the portrait is a video: its frame at %.1f s stands still; `anitalker dub` keeps it moving",
                number / FPS,
            )
        return frame, faces
    faces = finder.find(pixels)
    if not faces and _is_animation(path):
        _, later_pixels, later_faces = search_video(path, finder, what)
        if later_faces:
            return later_pixels, later_faces
    return pixels, faces


def search_video(
    path: str | os.PathLike, finder: FaceFinder, what: str = "video", enough: int = 1
) -> tuple[int, np.ndarray, list[Face]]:
    """The frame of a video whose faces are taken: its number at 25 per second, uint8 [H,W,3], its faces, largest first.

    Every FRAME_STEP-th frame is searched, MAX_SEARCHED_FRAMES at most. The first one is taken that has `enough` faces,
    one of them of GOOD_SCORE; else the one with the most faces up to `enough`, of these the one with the highest score.
    """
    best: tuple[int, np.ndarray, list[Face]] | None = None
    best_rank = (-1, -1.0)
    with contextlib.closing(read_frames(path, what=what)) as frames:
        searched = itertools.islice(enumerate(frames), 0, MAX_SEARCHED_FRAMES * FRAME_STEP, FRAME_STEP)
        for number, frame in searched:
            faces = finder.find(frame)
            score = max((face.score for face in faces), default=0.0)
            rank = (min(len(faces), enough), score)
            if rank > best_rank:
                best, best_rank = (number, frame, faces), rank
            if len(faces) >= enough and score >= GOOD_SCORE:
                break
    assert best is not None  # read_frames yields a frame or raises
    return best


def _is_video(path: str | os.PathLike, what: str) -> bool:
    try:
        media = probe(existing_file(path, what), what)
    except InputError:
        return False
    return media.video_codec is not None and media.width is not None


def _is_animation(path: str | os.PathLike) -> bool:
    """Whether a picture file that could be read has several frames that ffmpeg can read too."""
    from PIL import Image

    with Image.open(path) as picture:
        return getattr(picture, "is_animated", False) and _is_video(path, "portrait")


def _check_size(path: str | os.PathLike, what: str) -> None:
    width, height = probe(path, what).shown_size
    if max(width, height) > MAX_SIDE or min(width, height) < MIN_SIDE:
        raise InputError(
            f"{what} is a video of {width}x{height} pixels: {str(path)!r}; "
            f"give one of {MIN_SIDE} to {MAX_SIDE} pixels a side, or a picture"
        )
