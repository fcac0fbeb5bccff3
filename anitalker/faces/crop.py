"""Cut a square face crop out of a picture; anitalker/faces/paste.py pastes it back.

Pictures are uint8 [H,W,3] RGB; landmarks float32 [468,3] in the picture's pixels, the centre of the first pixel at 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from anitalker.config import CROP
from anitalker.faces.detection import Face
from anitalker.faces.landmarks import CHIN, FOREHEAD, face_height

FACE_IN_CROP = 0.55  # face height over the crop's side, as in the training data
MIDDLE_IN_CROP = (0.5, 0.575)  # crop sides: position of the midpoint of forehead and chin, as in the training data


@dataclass(frozen=True)
class Crop:
    """A square of a picture.

    image: uint8 [256,256,3]; landmarks [468,3] in crop sides; origin (x,y) and side in the picture's pixels, whole
    numbers but where `moved`; picture_size: (height, width) of the picture. The square may extend beyond the picture.
    """

    image: np.ndarray
    landmarks: np.ndarray
    origin: tuple[float, float]
    side: float
    picture_size: tuple[int, int]


def crop_face(
    picture: np.ndarray, face: Face, height: float = FACE_IN_CROP, place: tuple[float, float] = MIDDLE_IN_CROP
) -> Crop:
    """The square around a face, placed as in the training data; beyond the picture, its border is replicated.

    height: of the face; place: position (x,y) of the midpoint of forehead and chin. Both are in crop sides.
    """
    (x, y, side), landmarks = crop_square(face, height, place)
    empty = np.zeros((CROP, CROP, 3), np.uint8)
    frame = Crop(empty, landmarks, (float(x), float(y)), float(side), (picture.shape[0], picture.shape[1]))
    return recrop(picture, frame)


def crop_square(
    face: Face, height: float = FACE_IN_CROP, place: tuple[float, float] = MIDDLE_IN_CROP
) -> tuple[tuple[int, int, int], np.ndarray]:
    """Where `crop_face` cuts: x, y and side in pixels, and the landmarks [468,3] in crop sides."""
    side = max(round(float(face_height(face.landmarks)) / height), 2)
    middle = face.landmarks[[FOREHEAD, CHIN], :2].mean(0)
    x, y = (round(float(m - offset * side)) for m, offset in zip(middle, place, strict=True))
    landmarks = (face.landmarks - np.array([x, y, 0])) / side
    return (x, y, side), landmarks.astype(np.float32)


def recrop(picture: np.ndarray, frame: Crop, landmarks: np.ndarray | None = None) -> Crop:
    """The same square of another picture of the same size, such as a video's next frame.

    landmarks: new ones [468,3] in pixels; None keeps those of `frame`.
    """
    whole = _whole(frame)
    x, y = frame.origin[0] - whole.origin[0], frame.origin[1] - whole.origin[1]
    box = (x, y, x + frame.side, y + frame.side)  # of the square in the whole pixels around it
    pixels = Image.fromarray(crop_pixels(picture, whole))
    image = pixels.resize((CROP, CROP), Image.Resampling.BICUBIC, box=box)
    points = frame.landmarks
    if landmarks is not None:
        points = ((landmarks - np.array([*frame.origin, 0])) / frame.side).astype(np.float32)
    return Crop(np.asarray(image), points, frame.origin, frame.side, frame.picture_size)


def finer_image(picture: np.ndarray, frame: Crop) -> np.ndarray:
    """The same square, uint8 [256,256,3], out of a larger copy of the crop's picture."""
    scale = [size / of for size, of in zip(picture.shape[1::-1], frame.picture_size[::-1], strict=True)]
    low = [offset * factor for offset, factor in zip(frame.origin, scale, strict=True)]
    high = [start + frame.side * factor for start, factor in zip(low, scale, strict=True)]
    (left, top), (right, bottom) = ([math.floor(v) for v in low], [math.ceil(v) for v in high])
    rows = np.arange(top, bottom).clip(0, picture.shape[0] - 1)
    columns = np.arange(left, right).clip(0, picture.shape[1] - 1)
    box = (low[0] - left, low[1] - top, high[0] - left, high[1] - top)
    region = Image.fromarray(picture[rows[:, None], columns[None]])
    return np.asarray(region.resize((CROP, CROP), Image.Resampling.BICUBIC, box=box))


def moved(frame: Crop, about: np.ndarray, shift: np.ndarray, log_scale: float) -> Crop:
    """The square enlarged around a point `about` [2] and moved by `shift` [2], in pixels; fractions of a pixel count.

    The image stays what it was: see `recrop`.
    """
    x, y = about + math.exp(log_scale) * (np.array(frame.origin) - about) + shift
    return replace(frame, origin=(float(x), float(y)), side=frame.side * math.exp(log_scale))


def _whole(frame: Crop) -> Crop:
    """The smallest square of whole pixels around a square."""
    origin = [math.floor(offset) for offset in frame.origin]
    side = max(math.ceil(offset + frame.side) - start for offset, start in zip(frame.origin, origin, strict=True))
    return replace(frame, origin=(float(origin[0]), float(origin[1])), side=float(side))


def crop_pixels(picture: np.ndarray, frame: Crop, box: tuple[slice, slice] | None = None) -> np.ndarray:
    """The crop in the picture's own pixels, uint8 [side,side,3]; beyond the picture, its border is replicated.

    box: rows and columns of the crop that are returned; None: all.
    """
    x, y, side = int(frame.origin[0]), int(frame.origin[1]), int(frame.side)
    inside = box or (slice(0, side), slice(0, side))
    (top, bottom), (left, right) = (
        (offset + span.start, offset + span.stop) for offset, span in zip((y, x), inside, strict=True)
    )
    if min(top, left) >= 0 and bottom <= picture.shape[0] and right <= picture.shape[1]:
        return picture[top:bottom, left:right].copy()  # ten times as quick as by indices
    rows, columns = (
        np.arange(offset + span.start, offset + span.stop).clip(0, length - 1)
        for offset, span, length in zip((y, x), inside, picture.shape[:2], strict=True)
    )
    return picture[rows[:, None], columns[None]]


def seen_part(frame: Crop) -> tuple[slice, slice]:
    """Rows and columns of the crop, in the picture's pixels, that lie inside the picture; empty where none do."""
    side = int(frame.side)
    rows, columns = (
        slice(min(max(-int(offset), 0), side), max(min(length - int(offset), side), 0))
        for offset, length in zip(frame.origin[::-1], frame.picture_size, strict=True)
    )
    return slice(rows.start, max(rows.start, rows.stop)), slice(columns.start, max(columns.start, columns.stop))
