"""Follow one face through the frames of a video.

Each frame is confirmed by the detector near the last position, so that landmarks cannot wander off over an empty
picture. Frames are uint8 [H,W,3]; landmarks float32 [468,3] in their pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from anitalker.faces.face import Face, box_of, iou
from anitalker.faces.landmarks import OneEuro, face_height

MIN_SCORE = 0.5  # of the detector near the last position; below it, the picture is searched
SURE_SCORE = 0.7  # of a face that is taken although it is not where the face was
SAME_FACE = 0.2  # IoU with the last box from which a face that was found is the same one
FOLLOWED = 0.6  # IoU of the landmarks' boxes of two frames; below it the face has jumped, and the picture is searched
LOST_INTERVAL = 5  # frames between searches of the picture while the face is lost
SCENE_CUT = 25.0  # mean grey change between two frames, 0..255
THUMBNAIL = 48  # pixels along each side that the change is measured on


class Finder(Protocol):
    """What a tracker asks of a face finder; see `anitalker.faces.detection.FaceFinder`."""

    def find(self, picture: np.ndarray) -> list[Face]:
        """All faces of a picture."""
        ...

    def confirm(self, picture: np.ndarray, box: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
        """The score and the box of a face near a box; score 0 if there is none."""
        ...

    def refine(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks of the faces near landmarks."""
        ...


class FaceTracker:
    """One face, frame by frame: `tracker(frame)` -> Face, of score 0 where the frame does not show it.

    face: as the first frame or a later one shows it; smooth: landmarks pass a One-Euro filter; confirm_every: frames
    from one confirmation by the detector to the next; in between, landmarks alone follow the face.
    """

    def __init__(self, finder: Finder, face: Face, smooth: bool = True, confirm_every: int = 1) -> None:
        self.finder, self.smooth, self.confirm_every = finder, smooth, confirm_every
        self._unconfirmed = 0  # frames since the detector saw the face
        self._face = replace(face, score=0.0)
        self._others: list[tuple[float, ...]] = []  # boxes of other people's faces
        self._lost = 0  # frames since the face was seen
        self._filter, self._scale = OneEuro(), 1.0
        self._thumbnail: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> Face:
        """The face in the next frame, in pixels."""
        if self._scene_change(frame) > SCENE_CUT:
            self._others = []
        last, face = self._face, self._follow(frame, self._face)
        if face.score > 0 and (last.score == 0 or iou(face.box, last.box) < SAME_FACE):
            self._filter, self._scale = OneEuro(), float(face_height(face.landmarks))
        self._lost = 0 if face.score > 0 else self._lost + 1
        self._face = face
        if not self.smooth or face.score == 0:
            return face
        points = (self._filter(face.landmarks / self._scale) * self._scale).astype(np.float32)
        return Face(box_of(points), face.score, points)

    def _follow(self, frame: np.ndarray, last: Face) -> Face:
        self._unconfirmed += 1
        if last.score > 0 and self._unconfirmed < self.confirm_every:
            points = self.finder.refine(frame[None], last.landmarks[None])[0]
            if iou(box_of(points), last.box) > FOLLOWED:
                return Face(box_of(points), last.score, points)
        self._unconfirmed = 0
        score, box = self.finder.confirm(frame, last.box)
        if score >= MIN_SCORE and last.score > 0:
            points = self.finder.refine(frame[None], last.landmarks[None])[0]
            near = box_of(points)
            if iou(near, last.box) > FOLLOWED and iou(near, box) > MIN_SCORE:
                return Face(near, score, points)
        if last.score > 0 or score >= MIN_SCORE or self._lost % LOST_INTERVAL == 0:
            return self._search(frame, last)
        return last

    def _search(self, frame: np.ndarray, last: Face) -> Face:
        """The face anywhere in the frame: where it was, or else the largest sure one that is not another person's."""
        faces = self.finder.find(frame)
        overlaps = [iou(face.box, last.box) for face in faces]
        chosen = faces[overlaps.index(max(overlaps))] if max(overlaps, default=0.0) > SAME_FACE else None
        if chosen is None:
            strangers = [
                face for face in faces if max((iou(face.box, box) for box in self._others), default=0) < SAME_FACE
            ]
            chosen = next((face for face in strangers if face.score >= SURE_SCORE), None)
        if chosen is None:
            return replace(last, score=0.0)
        self._others = [face.box for face in faces if face is not chosen]
        return chosen

    def _scene_change(self, frame: np.ndarray) -> float:
        """Mean grey difference to the frame before, 0..255."""
        before, self._thumbnail = self._thumbnail, thumbnail(frame)
        return 0.0 if before is None else float(np.abs(self._thumbnail - before).mean())


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """Every n-th pixel of a frame in grey, float [about THUMBNAIL, about THUMBNAIL], to compare frames by."""
    rows, columns = (max(1, side // THUMBNAIL) for side in frame.shape[:2])
    return frame[::rows, ::columns].mean(-1)
