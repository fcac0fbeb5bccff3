"""Recomposed pictures: the same for the same seed, stored in every format and read back upright; resumed; counted."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from anitalker.media.images import read_picture
from scripts import compose_pictures
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
    one, again, other = (composed.compose(*stills, seed, 3) for seed in (0, 0, 1))
    assert np.array_equal(one.pixels, again.pixels) and one.facts == again.facts
    assert one.pixels.shape != other.pixels.shape or not np.array_equal(one.pixels, other.pixels)


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
    there = composed.moved(points, centre, 150, 25).round().astype(int)
    assert scene.getpixel(tuple(there[152].tolist()))[0] < 40
    assert scene.getpixel(tuple(there[10].tolist()))[1] < 40 < scene.getpixel(tuple(there[10].tolist()))[0]
    assert there[152][0] < there[10][0]  # clockwise: the chin goes to the left


def test_faces_of_one_scene_are_apart(stills, small):
    for number in range(12):
        scene = composed.compose(*stills, 0, number)
        assert 1 <= len(scene.faces) <= composed.MOST_FACES
        assert 160 <= max(scene.pixels.shape[:2]) <= 240
        for n, one in enumerate(scene.faces):
            assert all(composed.apart(one, other) for other in scene.faces[:n])


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


def test_counts_of_found_faces(face):
    here = face.numpy()[:, :2] * 100 + 200
    box = compose_pictures.box_of(here)
    assert compose_pictures.count_found([box], (here,)) == (1, 0)
    assert compose_pictures.count_found([box, (0, 0, 50, 50)], (here, here + 300)) == (1, 1)
    assert compose_pictures.count_found([], (here,)) == (0, 0)


@pytest.fixture
def made(tmp_path, talker, fixed_finder, monkeypatch, make_wav):
    """main over scenes in which the fake finder's face is where it was put."""

    def scene(stills, landmarks, seed, number):
        pixels = np.random.default_rng(number).integers(0, 256, (120, 150, 3), np.uint8)
        return composed.Scene(pixels, tuple(one.landmarks[:, :2] for one in fixed_finder().find(pixels)), {"faces": 1})

    still = ({}, np.zeros((256, 256, 3), np.uint8), np.zeros((468, 3), np.float32))
    monkeypatch.setattr(compose_pictures, "load_stills", lambda data, splits: [still])
    monkeypatch.setattr(compose_pictures, "compose", scene)
    monkeypatch.setattr("anitalker.pipeline.load", lambda *_: talker)
    monkeypatch.setattr(compose_pictures, "FRAMES", 2)
    speech = make_wav(tmp_path / "speech.wav", np.random.default_rng(0).normal(0, 0.1, 3200))

    def run(count):
        options = ["--data", "x", "-o", str(tmp_path), "--count", str(count), "--render", "--speech", str(speech)]
        return compose_pictures.main(options), json.loads((tmp_path / "summary.json").read_text())

    return run


def test_pictures_are_rendered_compared_and_resumed(made, tmp_path, monkeypatch):
    status, facts = made(1)
    assert status == 0 and facts["ok"] == facts["rendered"] == 1 and facts["videos_whole_of"] == [1, 1]
    assert facts["outside_the_mask"] == 0 and facts["changed_share"] > 0
    status, facts = made(4)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["number"] for row in rows] == [0, 1, 2, 3] and facts["ok"] == 4 and facts["lossless"] == 1
    assert (tmp_path / "sheet.jpg").stat().st_size > 1000 and not list(tmp_path.glob("*.mp4"))


def test_what_changes_outside_the_mask_is_counted(made, talker, monkeypatch):
    plain = talker.draw

    def leaky(*given):
        for frame in plain(*given):
            frame[0, 0] ^= 255
            yield frame

    monkeypatch.setattr(talker, "draw", leaky)
    monkeypatch.setattr(compose_pictures, "VIDEO_EVERY", 100)
    monkeypatch.setattr(compose_pictures, "as_video", lambda *_: {"whole": True})
    status, facts = made(1)
    assert status == 1 and facts["outside_the_mask"] == 2 and facts["ok"] == 0


def test_a_refusal_is_a_row(made, talker, monkeypatch):
    def refuse(*_):
        raise compose_pictures.InputError("nobody")

    monkeypatch.setattr(talker, "portrait", refuse)
    status, facts = made(1)
    assert status == 1 and facts["refused"] == {"000.jpg": "InputError: nobody"} and facts["rendered"] == 0


def test_the_mask_is_the_square_where_detail_is_not_carried(face):
    crop = SimpleNamespace(side=4.0, origin=(-2.0, 3.0))
    mask = compose_pictures.where_moving(None, [SimpleNamespace(crop=crop, detail=None)], [None], (6, 8))
    assert mask[3:6, :2].all() and mask.sum() == 6
