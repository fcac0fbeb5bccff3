"""The crops that a driving video is read from: they follow the face, without camera movement, and start anew at cuts.

Frames are uint8 [H,W,3]. The square stays where the first frame had it while the head moves as heads of the training
clips do, so that all of this movement is in the codes. It moves with the background (the camera's movement is not the
head's), and with a head that goes farther: the head leaves the middle by LIMIT at most, and the square catches up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from anitalker.faces.crop import Crop, crop_face, moved, recrop
from anitalker.faces.detection import Face, FaceFinder
from anitalker.faces.landmarks import STABLE
from anitalker.faces.tracking import SCENE_CUT, FaceTracker, thumbnail
from anitalker.motion.camera import CameraMotion

# How far a head goes from where it was at first: x and y in crop sides, log of the size. FREE is taken as it is; three
# quarters of val's clips stay within it.
FREE = np.array([0.11, 0.11, 0.16])
LIMIT = np.array([0.135, 0.135, 0.22])  # farther off, a portrait's head tears away from its hair and neck
CATCH_UP = 20  # frames: time constant in which the square follows a head that has left FREE
ARRIVED = 0.2  # of FREE: the square rests again when the head is that near to its middle
JUMP = 0.35  # crop sides, or log of the size, from one frame with the face to the next: a cut, or another face
SCENE_JUMP = 0.1  # the same where the whole picture changes by SCENE_CUT


@dataclass(frozen=True)
class DrivingFrame:
    """One frame of a driving video: its crop, uint8 [256,256,3], None where no face is seen, and its shot's number."""

    crop: np.ndarray | None
    shot: int


def follow_face(
    frames: Iterable[np.ndarray],
    finder: FaceFinder,
    face: Face,
    crop: Callable[[np.ndarray, Face], Crop] = crop_face,
) -> Iterator[DrivingFrame]:
    """Frames uint8 [H,W,3] -> the crops of one face; face: as one of the frames shows it; crop: cuts its square out."""
    tracker, camera, cropper = FaceTracker(finder, face), CameraMotion(), FollowingCrop(crop)
    for frame in frames:
        seen = tracker(frame)
        yield cropper(frame, seen, camera(frame, seen.box))


class FollowingCrop:
    """The crop of a face that is tracked: `cropper(frame, face, camera)` -> DrivingFrame.

    crop: cuts the square of a face out of a picture, as the model expects it. `square` is that of the last face seen.
    """

    def __init__(self, crop: Callable[[np.ndarray, Face], Crop] = crop_face) -> None:
        self.crop, self.shot = crop, 0
        self.square: Crop | None = None
        self._rest: Crop | None = None  # the square at rest, its middle where the head is expected
        self._home = np.zeros(3)  # `place` of the head that is in the middle of this square
        self._last = np.zeros(3)  # `place` of the head in the last frame that showed it, as the camera stands now
        self._catching_up = False
        self._thumbnail: np.ndarray | None = None

    def __call__(self, frame: np.ndarray, face: Face, camera: np.ndarray) -> DrivingFrame:
        """The next frame. face: of score 0 where it is not seen; camera: movement of the background since the last."""
        change, self._thumbnail = self._change(frame, face.score > 0)
        if self._rest is not None:
            self._move_with(camera)
        if face.score <= 0:
            return DrivingFrame(None, self.shot)
        head = place(face.landmarks)
        if self._rest is None or self._is_cut(head, change):
            self.shot += self._rest is not None
            self._rest, self._home, self._catching_up = self.crop(frame, face), head, False
        self._last, self.square = head, self._square(head)
        return DrivingFrame(recrop(frame, self.square).image, self.shot)

    def _square(self, head: np.ndarray) -> Crop:
        """The square for a head at a place; lets the square at rest catch up with it."""
        assert self._rest is not None
        away = self._away(head)
        distance = float(np.abs(away / FREE).max())
        self._catching_up = distance > (ARRIVED if self._catching_up else 1.0)
        if self._catching_up:
            self._shift(away[:2] * self._rest.side / CATCH_UP, away[2] / CATCH_UP)
            away = self._away(head)
        kept = held(away)
        if (kept == away).all():
            return self._rest
        zoom = away[2] - kept[2]
        return moved(self._rest, self._home[:2], (away - math.exp(zoom) * kept)[:2] * self._rest.side, zoom)

    def _away(self, head: np.ndarray) -> np.ndarray:
        """How far the head is from the middle of the square at rest, [3]: x and y in its sides, log of the size."""
        assert self._rest is not None
        return np.array([*(head[:2] - self._home[:2]) / self._rest.side, head[2] - self._home[2]])

    def _shift(self, shift: np.ndarray, zoom: float) -> None:
        """Move the square at rest by a shift [2] in pixels and a log scale."""
        assert self._rest is not None
        self._rest = moved(self._rest, self._home[:2], shift, zoom)
        self._home = self._home + np.array([*shift, zoom])

    def _move_with(self, camera: np.ndarray) -> None:
        """Move square and head with the background."""
        zoom = math.log(math.hypot(camera[0, 0], camera[1, 0]))
        shift = camera @ [*self._home[:2], 1.0] - self._home[:2]
        if zoom or shift.any():
            self._shift(shift, zoom)
            self._last = np.array([*camera @ [*self._last[:2], 1.0], self._last[2] + zoom])

    def _is_cut(self, head: np.ndarray, change: float) -> bool:
        """Whether this frame and the last one that showed the face are of two shots."""
        assert self._rest is not None
        jump = np.abs([*(head[:2] - self._last[:2]) / self._rest.side, head[2] - self._last[2]]).max()
        return bool(jump > (SCENE_JUMP if change > SCENE_CUT else JUMP))

    def _change(self, frame: np.ndarray, is_seen: bool) -> tuple[float, np.ndarray | None]:
        """Mean grey change since the last frame that showed the face, and the small picture to keep."""
        now = thumbnail(frame)
        before = self._thumbnail
        change = float(np.abs(now - before).mean()) if before is not None and before.shape == now.shape else 0.0
        return change, now if is_seen else before


def place(landmarks: np.ndarray) -> np.ndarray:
    """Where a head is and how large, [3]: x, y in pixels, log of pixels; jaw and head turns hardly change it.

    Middle and spread of the STABLE points of landmarks [468,3].
    """
    points = landmarks[list(STABLE)].astype(np.float64)
    spread = np.sqrt(np.square(points - points.mean(0)).sum(1).mean())
    return np.array([*points[:, :2].mean(0), math.log(max(spread, 1e-6))])


def held(away: np.ndarray) -> np.ndarray:
    """Distances [3] as they are within FREE, and beyond it drawn in smoothly, below LIMIT."""
    beyond, room = np.maximum(np.abs(away) - FREE, 0.0), LIMIT - FREE
    return np.sign(away) * (np.minimum(np.abs(away), FREE) + room * np.tanh(beyond / room))
