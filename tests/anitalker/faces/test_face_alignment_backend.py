"""The face-alignment backend with a fake package: 468 points, and errors where package or weights are missing."""

import math
import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from anitalker.faces.face_alignment_backend import FaceAlignmentFinder
from anitalker.faces.landmarks68 import IBUG_POINTS, expand_to_mesh, fit_ridge


def test_68_points_turn_with_the_face(face):
    torch.manual_seed(0)
    many = face[None] + torch.randn(200, 468, 1) * torch.randn(200, 1, 1) * 0.02
    fit = fit_ridge(many, noise=0.01)
    points = many[:2, list(IBUG_POINTS), :2]
    straight = expand_to_mesh(fit, points)
    assert (straight - many[:2])[..., :2].norm(dim=-1).mean() < 0.02
    angle = 0.7
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned = expand_to_mesh(fit, points @ turn * 3 + 50)
    assert torch.allclose(turned[..., :2], straight[..., :2] @ turn * 3 + 50, atol=1e-3)
    assert torch.allclose(turned[..., 2], straight[..., 2] * 3, atol=1e-3)


@pytest.fixture
def fit(face):
    torch.manual_seed(0)
    return fit_ridge(face[None] + torch.randn(100, 468, 3) * 0.01, noise=0.01)


def fake_package(monkeypatch, aligner):
    package = SimpleNamespace(FaceAlignment=aligner, LandmarksType=SimpleNamespace(TWO_D=1))
    monkeypatch.setitem(sys.modules, "face_alignment", package)


def test_second_backend_gives_468_points(monkeypatch, fit, make_face):
    truth = [make_face(100, 100, 60), make_face(280, 150, 110, roll=10)]

    class Aligner:
        def __init__(self, kind, device, flip_input, compile=True):
            assert kind == 1 and device == "cpu" and compile is False

        def get_landmarks_from_image(self, picture, detected_faces=None, return_bboxes=False):
            if detected_faces is not None:
                return [truth[1].landmarks[list(IBUG_POINTS), :2]]
            if not picture.any():
                return None, None, None
            boxes = [np.array([*face.box, 0.99]) for face in truth]
            return [face.landmarks[list(IBUG_POINTS), :2] for face in truth], None, boxes

    fake_package(monkeypatch, Aligner)
    finder = FaceAlignmentFinder(fit, "cpu")
    faces = finder.find(np.ones((300, 400, 3), np.uint8))
    assert [face.score for face in faces] == [0.99, 0.99]
    for face, expected in zip(faces, truth[::-1], strict=True):  # the largest first
        assert np.abs(face.landmarks - expected.landmarks)[:, :2].mean() < 0.02 * expected.size
    assert finder.find(np.zeros((300, 400, 3), np.uint8)) == []
    refined = finder.refine(np.ones((1, 300, 400, 3), np.uint8), truth[1].landmarks[None])
    assert np.allclose(refined[0], faces[0].landmarks, atol=1e-3)


@pytest.mark.parametrize("fault", [URLError("no route"), FileNotFoundError("gone"), EOFError("half a file")])
def test_missing_weights_say_how_to_get_them(monkeypatch, fit, fault):
    def aligner(kind, device, flip_input):
        raise fault

    fake_package(monkeypatch, aligner)
    with pytest.raises(InputError, match=r"2DFAN4-11f355bf06\.pth\.tar.* into .*checkpoints") as caught:
        FaceAlignmentFinder(fit)
    assert "\n" not in str(caught.value)


def test_missing_package_says_how_to_get_it(monkeypatch, fit):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(InputError, match="pip install face-alignment"):
        FaceAlignmentFinder(fit)
