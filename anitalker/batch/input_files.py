"""The files that a table names: each is looked at once, however many lines name it."""

from __future__ import annotations

import functools
from pathlib import Path

from anitalker.config import InputError
from anitalker.files import existing_file
from anitalker.media.clip import Clip, open_clip
from anitalker.media.video import probe
from anitalker.weights.registry import sha256

FILE_OPTIONS = ("pose", "timeline", "subtitles")  # of RenderOptions: files
PICTURES = ("portrait", "also", "background")  # a picture, or a video


@functools.cache
def check_file(path: str, what: str) -> None:
    """Raise InputError when a file is missing or of another kind. Reads headers only, of each file once."""
    from PIL import Image, UnidentifiedImageError

    from anitalker.person.person_file import is_person_file, read_person

    file = existing_file(path, what)
    if what in (*FILE_OPTIONS, "segments"):
        return
    if what in ("portrait", "also") and is_person_file(file):
        read_person(file)
        return
    if what in PICTURES:
        try:
            with Image.open(file):
                return
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
            pass  # a video will do, too
    media = probe(file, what)
    if what == "speech" and media.audio_codec is None:
        raise InputError(f"{what} has no sound: {path!r}; give a recording or a video with sound")
    if what != "speech" and media.video_codec is None:
        raise InputError(f"{what} has no pictures: {path!r}; give a {'picture' if what in PICTURES else 'video'}")


@functools.cache
def open_video(video: str, start: float, stop: float | None) -> Clip:
    """Look at a video from `start` to `stop` [s]; InputError where it has no pictures there."""
    return open_clip(video, start, stop)


@functools.cache
def hash_of(path: str) -> str:
    """Return the SHA-256 of a file, which is read once."""
    return sha256(Path(path))
