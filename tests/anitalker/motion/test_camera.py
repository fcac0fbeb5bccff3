"""The camera's movement, on a textured ground of known movement."""

import sys

import cv2
import numpy as np
import pytest

from anitalker.motion import camera
from anitalker.motion.camera import STILL, CameraMotion

BOX = (140.0, 90.0, 200.0, 170.0)  # of the face, in a picture of 320x240


def ground(seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (240, 320)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return ((smooth - smooth.mean()) * 12 + 128).clip(0, 255)


def frame(x=0.0, y=0.0, zoom=1.0, person=0.0):
    """The ground moved and enlarged around the corner; a person with a texture of its own, moved to the right."""
    size, mode = (320, 240), cv2.BORDER_REFLECT
    picture = cv2.warpAffine(ground(), np.float32([[zoom, 0, x], [0, zoom, y]]), size, borderMode=mode)
    body = cv2.warpAffine(ground(1), np.float32([[1, 0, person], [0, 1, 0]]), size, borderMode=mode)
    picture[70:170, 130:210], picture[170:, 100:240] = body[70:170, 130:210], body[170:, 100:240]
    return np.repeat(picture.astype(np.uint8)[..., None], 3, 2)


def movement(first, second, box=BOX):
    camera = CameraMotion()
    np.testing.assert_array_equal(camera(first, box), STILL)
    return camera(second, box)


@pytest.mark.parametrize(("x", "y"), [(7.5, 0.0), (-3.0, 4.25)])
def test_a_pan(x, y):
    similarity = movement(frame(), frame(x, y))
    np.testing.assert_allclose(similarity[:, 2], [x, y], atol=0.15)
    np.testing.assert_allclose(similarity[:, :2], np.eye(2), atol=2e-3)


def test_a_zoom():
    similarity = movement(frame(), frame(zoom=1.03))
    assert np.hypot(*similarity[:, 0]) == pytest.approx(1.03, abs=2e-3)


def test_pixels_of_the_picture_whatever_its_size():
    large = [np.kron(picture, np.ones((2, 2, 1), np.uint8)) for picture in (frame(), frame(6.0))]
    np.testing.assert_allclose(movement(*large, box=tuple(2 * v for v in BOX))[:, 2], [12, 0], atol=0.4)


def test_a_person_who_moves_is_no_camera():
    np.testing.assert_array_equal(movement(frame(), frame(person=8.0)), STILL)


def test_a_wall_and_a_cut_tell_nothing():
    wall = np.full((240, 320, 3), 140, np.uint8)
    np.testing.assert_array_equal(movement(wall, wall), STILL)
    other = np.repeat(ground(5).astype(np.uint8)[..., None], 3, 2)
    np.testing.assert_array_equal(movement(frame(), other), STILL)


def test_noise_of_a_camera_at_rest_is_no_movement():
    rng = np.random.default_rng(0)
    noisy = [(frame() + rng.normal(0, 3, (240, 320, 1))).clip(0, 255).astype(np.uint8) for _ in range(2)]
    np.testing.assert_array_equal(movement(*noisy), STILL)


def test_without_opencv_the_camera_stands_still_and_it_is_told_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cv2", None)  # `import cv2` raises ImportError
    camera._opencv.cache_clear()
    rng = np.random.default_rng(0)
    before, now = rng.integers(0, 256, (2, 90, 120), np.uint8)
    for _ in range(2):
        assert (camera._follow(before, now, np.full((90, 120), 255, np.uint8)) == camera.STILL).all()
    camera._opencv.cache_clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
