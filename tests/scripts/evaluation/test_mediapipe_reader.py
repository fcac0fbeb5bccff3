"""MediaPipe's points, with a mesh that sees nobody now and then, and the message where the package is missing."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from anitalker.config import InputError
from scripts.evaluation.mediapipe_reader import MediaPipeReader

MODULE = "mediapipe.python.solutions.face_mesh"


class Mesh:
    """A face whose points lie at the brightness of the frame; no face in a black one."""

    def __init__(self, **options):
        assert options == {"static_image_mode": False, "max_num_faces": 1}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def process(self, frame):
        value = frame.max() / 100
        point = SimpleNamespace(x=value, y=value, z=0.0)
        return SimpleNamespace(multi_face_landmarks=[SimpleNamespace(landmark=[point] * 468)] if value else None)


def test_a_frame_without_a_face_keeps_the_points_before(monkeypatch):
    for name in ("mediapipe", "mediapipe.python", "mediapipe.python.solutions"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, MODULE, SimpleNamespace(FaceMesh=Mesh))
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    frames[1], frames[3] = 50, 80
    points = MediaPipeReader()(frames)
    assert points.shape == (4, 468, 3) and points[:, 0, 0] == pytest.approx([0, 0.5, 0.5, 0.8])


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(InputError, match="pip install mediapipe"):
        MediaPipeReader()
