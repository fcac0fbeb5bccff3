"""What shall be behind a portrait: a word, a colour, a picture or a video, by what the user wrote; and its pixels.

Pictures are uint8 [H,W,3].
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from anitalker.config import FPS, InputError
from anitalker.files import existing_file, shorten
from anitalker.media.frames import frame_filters
from anitalker.media.images import NoPicture, read_picture
from anitalker.media.video import decode_frames, probe_pictures, read_frames

WORDS = ("keep", "transparent", "blur")
WHAT = "background"
CHECKER_PIXELS = 8


@dataclass(frozen=True)
class Backdrop:
    """A background that was asked for. kind: one of WORDS, colour, or file; colour: red, green and blue, 0 to 255."""

    kind: str
    colour: tuple[int, int, int] = (0, 0, 0)
    file: Path = Path()

    def frames(self, width: int, height: int, fps: Fraction | int = FPS) -> Iterator[np.ndarray]:
        """Yield backgrounds of a size without end: of a video its frames, again and again, else one picture.

        Pictures and videos fill the frame; what is too much of them is cut off on both sides. For kinds colour and
        file. InputError where the file cannot be read.
        """
        if self.kind == "colour":
            yield from itertools.repeat(np.full((height, width, 3), self.colour, np.uint8))
        try:
            picture = read_picture(self.file, WHAT)
        except NoPicture:
            picture = None
        if picture is not None:
            yield from itertools.repeat(fill(picture, width, height))
        media = probe_pictures(self.file, WHAT)
        while True:
            for frame in decode_frames(self.file, media, frame_filters(media, float(fps)), WHAT):
                yield fill(frame, width, height)


def parse_background(text: str) -> Backdrop:
    """Return the background that a text asks for; InputError where it is no word, no colour and no file.

    A colour is a name of CSS, or its number, as #1e90ff. What is both a colour's name and a file is a colour.
    """
    name = text.strip()
    if (known := word_or_colour(name)) is not None:
        return known
    if name and (Path(name).exists() or Path(name).suffix):
        return Backdrop("file", file=existing_file(name, WHAT))
    raise InputError(
        f"background is {shorten(name)!r}; allowed are {', '.join(WORDS)}, a colour such as white or #1e90ff, or the "
        "file of a picture or video"
    )


def word_or_colour(text: str) -> Backdrop | None:
    """Return the background that a text asks for without naming a file; None where it is no word and no colour."""
    name = text.strip()
    if name.lower() in WORDS:
        return Backdrop(name.lower())
    colour = _colour(name)
    return None if colour is None else Backdrop("colour", colour)


def check_live(text: str) -> None:
    """Raise InputError for a background that a stream cannot have: it has no alpha, and plays no video behind."""
    backdrop = check_background(text)
    if backdrop.kind == "transparent" or (backdrop.kind == "file" and not _is_picture(backdrop.file)):
        raise InputError(f"background is {shorten(text)!r}; a stream takes keep, blur, a colour or a picture")


def check_background(text: str) -> Backdrop:
    """Parse a background, and look at the file that it names: InputError where it shows nothing."""
    backdrop = parse_background(text)
    if backdrop.kind == "file" and not _is_picture(backdrop.file):
        with contextlib.closing(read_frames(backdrop.file, what=WHAT)) as frames:
            next(frames)
    return backdrop


def fill(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the middle of a picture that has the proportions of width x height, in that size."""
    rows, columns = picture.shape[:2]
    scale = min(columns / width, rows / height)
    wide, high = max(1, round(scale * width)), max(1, round(scale * height))
    left, top = (columns - wide) // 2, (rows - high) // 2
    middle = picture[top : top + high, left : left + wide]
    if middle.shape[:2] == (height, width):
        return np.ascontiguousarray(middle)
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    return cv2.resize(middle, (width, height), interpolation=method)


def lay_over(frame: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return a frame with alpha, uint8 [H,W,4], over a background: where alpha is 0 or 255, one of both to the bit."""
    alpha = cv2.merge([cv2.extractChannel(frame, 3)] * 3)
    front = cv2.multiply(cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB), alpha, scale=1 / 255)
    return cv2.add(front, cv2.multiply(background, 255 - alpha, scale=1 / 255))


def checkered(frame: np.ndarray) -> np.ndarray:
    """Return a frame before a checkerboard, if it has alpha, as programs for pictures show it: uint8 [H,W,3]."""
    if frame.shape[-1] == 3:
        return frame
    rows, columns = np.ogrid[: frame.shape[0], : frame.shape[1]]
    squares = (rows // CHECKER_PIXELS + columns // CHECKER_PIXELS) % 2
    return lay_over(frame, cv2.merge([np.where(squares, 204, 255).astype(np.uint8)] * 3))


def _is_picture(file: Path) -> bool:
    """Whether a file is a picture, not a video; InputError for a damaged one."""
    try:
        read_picture(file, WHAT)
    except NoPicture:
        return False
    return True


def _colour(name: str) -> tuple[int, int, int] | None:
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError:
        return None
    return red, green, blue
