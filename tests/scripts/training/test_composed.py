"""Scenes out of stills: the same for the same seed, stored in every format and read back upright."""

import numpy as np
import pytest

from anitalker.media.images import read_picture
from scripts.training import composed


@pytest.fixture
def stills(face):
    """Six noisy stills with a face in their middle."""
    points = face.numpy() * 0.6 + np.float32([0.5, 0.4, 0])
    return np.random.randint(0, 256, (6, 256, 256, 3), np.uint8), np.repeat(points[None], 6, 0).astype(np.float32)


@pytest.fixture
def small(monkeypatch):
    """Scenes of 160 to 240 pixels."""
    monkeypatch.setattr(composed, "SHORTEST", 160)
    monkeypatch.setattr(composed, "LONGEST", 240)


def test_a_scene_is_its_seed_and_number(stills, small):
    scene, again, other = (composed.compose(*stills, seed, 3) for seed in (0, 0, 1))
    assert np.array_equal(scene.pixels, again.pixels) and scene.facts == again.facts
    assert scene.pixels.shape != other.pixels.shape or not np.array_equal(scene.pixels, other.pixels)


def test_faces_stand_where_they_are_said_to_be(face):
    """A white still with a black chin and a red forehead, turned: the colours are found at the moved landmarks."""
    points = face.numpy()[:, :2] * 0.6 + np.float32([0.5, 0.4])
    still = np.full((256, 256, 3), 255, np.uint8)
    for n, colour in ((152, (0, 0, 0)), (10, (255, 0, 0))):
        x, y = (points[n] * 256).round().astype(int)
        still[y - 5 : y + 6, x - 5 : x + 6] = colour
    scene = composed.Image.new("RGB", (400, 300), "white")
    centre = np.array([180.0, 150.0])
    composed.paste(scene, still, points, centre, 150, 25)
    there = composed.place_points(points, centre, 150, 25).round().astype(int)
    assert scene.getpixel(tuple(there[152].tolist()))[0] < 40
    assert scene.getpixel(tuple(there[10].tolist()))[1] < 40 < scene.getpixel(tuple(there[10].tolist()))[0]
    assert there[152][0] < there[10][0]  # clockwise: the chin goes to the left


def test_faces_of_one_scene_are_apart(stills, small):
    for number in range(12):
        scene = composed.compose(*stills, 0, number)
        assert 1 <= len(scene.faces) <= composed.MOST_FACES
        assert 160 <= max(scene.pixels.shape[:2]) <= 240
        for n, face in enumerate(scene.faces):
            assert all(composed.apart(face, other) for other in scene.faces[:n])


@pytest.mark.parametrize("number", range(len(composed.FORMATS)))
def test_what_is_stored_is_read_upright(tmp_path, number, monkeypatch):
    monkeypatch.setattr(composed, "TURNED", 1.0)  # every file has a tag
    ramp = np.add.outer(np.arange(96), np.arange(128))[..., None] + np.array([0, 10, 20])
    scene = composed.Scene(ramp.astype(np.uint8), (), {})
    turned = set()
    for seed in range(8):
        path, facts = composed.store(scene, tmp_path, seed, number)
        turned.add(facts["orientation"])
        away = np.abs(read_picture(path).astype(int) - scene.pixels)
        assert away.shape == scene.pixels.shape
        assert away.max() == 0 if facts["format"] in composed.LOSSLESS else away.mean() < 12
    assert len(turned) > 2
