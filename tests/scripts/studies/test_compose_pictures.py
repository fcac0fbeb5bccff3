"""Recomposed pictures through the pipeline: rendered, compared; what fails is counted."""

import json

import numpy as np
import pytest

from scripts import study
from scripts.studies import compose_pictures
from scripts.training import composed


def test_counts_of_found_faces(face):
    here = face.numpy()[:, :2] * 100 + 200
    box = compose_pictures.box_of(here)
    assert compose_pictures.count_faces([box], (here,)) == (1, 0)
    assert compose_pictures.count_faces([box, (0, 0, 50, 50)], (here, here + 300)) == (1, 1)
    assert compose_pictures.count_faces([], (here,)) == (0, 0)


@pytest.fixture
def made(tmp_path, talker, fixed_finder, monkeypatch):
    """main over scenes in which the fake finder's face is where it was put."""

    def scene(stills, landmarks, seed, number):
        pixels = np.random.default_rng(number).integers(0, 256, (120, 150, 3), np.uint8)
        return composed.Scene(
            pixels, tuple(face.landmarks[:, :2] for face in fixed_finder().find(pixels)), {"faces": 1}
        )

    still = ({}, np.zeros((256, 256, 3), np.uint8), np.zeros((468, 3), np.float32))
    monkeypatch.setattr(compose_pictures, "load_stills", lambda data, splits: [still])
    monkeypatch.setattr(compose_pictures, "compose", scene)
    monkeypatch.setattr(compose_pictures, "load", lambda *_: talker)
    monkeypatch.setattr(compose_pictures, "FRAMES", 2)
    speech = np.random.default_rng(0).normal(0, 0.1, 3200).astype(np.float32)
    monkeypatch.setattr(compose_pictures, "read_audio", lambda path: speech)

    def run(count):
        options = ["--data", "x", "-o", str(tmp_path), "--count", str(count)]
        return study.main(["compose_pictures", *options]), json.loads((tmp_path / "summary.json").read_text())

    return run


@pytest.mark.slow
def test_pictures_are_rendered_and_compared(made, tmp_path):
    status, facts = made(4)
    assert status == 0 and facts["ok"] == facts["rendered"] == 4 and facts["video_whole_of"] == [1, 1]
    assert facts["outside_the_mask"] == 0 and facts["changed_share"] > 0 and facts["read_right_of"] == [1, 1]
    assert (tmp_path / "sheet.jpg").stat().st_size > 1000 and not list(tmp_path.glob("*.mp4"))


def test_what_changes_outside_the_mask_is_counted(made, talker, monkeypatch):
    plain = talker.draw

    def leaky(*given):
        for frame in plain(*given):
            frame[0, 0] ^= 255
            yield frame

    monkeypatch.setattr(talker, "draw", leaky)
    monkeypatch.setattr(compose_pictures, "VIDEO_EVERY", 100)
    monkeypatch.setattr(compose_pictures, "video_is_whole", lambda *_: True)
    status, facts = made(1)
    assert status == 1 and facts["outside_the_mask"] == 2 and facts["ok"] == 0


def test_a_refusal_is_a_row(made, talker, monkeypatch):
    def refuse(*_):
        raise compose_pictures.InputError("nobody")

    monkeypatch.setattr(talker, "portrait", refuse)
    status, facts = made(1)
    assert status == 1 and facts["refused"] == {"000.jpg": "InputError: nobody"} and facts["rendered"] == 0
