"""One face through a video: it is confirmed in every frame, looked for when lost, and never another person's."""

import numpy as np
import pytest

from anitalker.faces import tracking
from anitalker.faces.detection import FaceFinder
from anitalker.faces.face import iou
from anitalker.faces.tracking import FaceTracker
from tests.anitalker.faces.test_detection import Bright, with_square


class Squares:
    """A finder of the given faces: `scenes` has the faces of each frame, whose number is the frame's level."""

    def __init__(self, scenes):
        self.scenes, self.searches = scenes, 0

    def find(self, frame):
        self.searches += 1
        return self.scenes[int(frame[0, 0, 0])]

    def confirm(self, frame, box):
        near = [face for face in self.scenes[int(frame[0, 0, 0])] if iou(face.box, box) > 0.3]
        return (near[0].score, near[0].box) if near else (0.0, box)

    def refine(self, pictures, landmarks):
        faces = self.scenes[int(pictures[0][0, 0, 0])]
        return min((face.landmarks for face in faces), key=lambda points: np.abs(points - landmarks[0]).mean())[None]


def follow(scenes):
    """The tracked first face of scenes, one frame each, and the number of searches of whole pictures."""
    finder = Squares(scenes)
    tracker = FaceTracker(finder, next(faces[0] for faces in scenes if faces), smooth=False)
    return [tracker(np.full((48, 48, 3), number, np.uint8)) for number in range(len(scenes))], finder.searches


def test_an_empty_picture_does_not_lead_the_landmarks_astray(face):
    """The box shrank from 107x132 to 5x7 within a second, and the face was not found again."""
    frames = [with_square(100, 60, 80)] * 3 + [np.zeros((300, 400, 3), np.uint8)] * 30 + [with_square(110, 60, 80)] * 8
    faces = list(FaceFinder(Bright(face)).track(frames, smooth=False))
    assert [face.score > 0 for face in faces[:33]] == [True] * 3 + [False] * 30
    assert {face.box for face in faces[3:33]} == {faces[2].box}
    assert all(face.score > 0 for face in faces[33:])
    assert faces[-1].box[0] == pytest.approx(faces[0].box[0] + 10, abs=3)


def test_a_face_that_stays_is_not_searched_for(make_face):
    faces, searches = follow([[make_face(100 + n)] for n in range(20)])
    assert searches == 1 and faces[-1].box[0] == pytest.approx(faces[0].box[0] + 19)


def test_it_comes_back_elsewhere(make_face):
    faces, _ = follow([[make_face(100)]] * 2 + [[]] * 7 + [[make_face(280)]] * 6)
    assert faces[-1].score > 0 and faces[-1].box == make_face(280).box
    assert [face.score > 0 for face in faces].count(False) <= 7 + tracking.LOST_INTERVAL


def test_another_persons_face_is_not_taken(make_face):
    mine, other = make_face(100, height=100), make_face(300, height=80)
    faces, _ = follow([[mine, other]] * 2 + [[other]] * 12 + [[mine, other]] * 6)
    assert all(face.score == 0 for face in faces[2:14])
    assert faces[-1].box == mine.box and faces[-1].score > 0


def test_a_face_is_known_before_it_appears(make_face):
    """A video that begins with a title: the search found the face in a later frame."""
    faces, _ = follow([[]] * 9 + [[make_face(100)]] * 3)
    assert [face.score > 0 for face in faces] == [False] * 9 + [True] * 3


def test_smoothing_begins_anew_where_the_face_jumps(make_face):
    finder = Squares([[make_face(100)], [make_face(300)]])
    tracker = FaceTracker(finder, make_face(100))
    last = [tracker(np.full((48, 48, 3), number, np.uint8)) for number in (0, 1)][-1]
    assert last.box == pytest.approx(make_face(300).box, abs=1e-3)
