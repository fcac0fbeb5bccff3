"""Seams and colours on frames whose answer is known: a copy, a frame with a seam, a frame of another colour."""

import json

import numpy as np
import pytest

from anitalker.config import RenderOptions
from scripts import study
from scripts.studies import seams


@pytest.fixture
def measured(talker, monkeypatch, example_portrait):
    """Changes of the frames of the example portrait -> summary; the mask is the middle half of the crop."""
    whole = talker.portrait(example_portrait)
    side, (x, y) = int(whole.faces[0].crop.side), (int(v) for v in whole.faces[0].crop.origin)
    points = whole.faces[0].crop.landmarks[:, :2] * side + np.array([x, y])
    mask = np.zeros(whole.picture.shape[:2], np.float32)
    mask[y + side // 4 : y + 3 * side // 4, x + side // 4 : x + 3 * side // 4] = 1
    monkeypatch.setattr(seams, "mask_of", lambda *_: mask)

    def measure(change):
        frames = [change(whole.picture.copy(), mask > 0)] * 2
        monkeypatch.setattr(talker, "draw", lambda *_: iter(frames))
        monkeypatch.setattr(seams, "moved_points", lambda model, subject, motion: points)
        row = seams.measure(talker, example_portrait, np.ones(2000, np.float32), 2, RenderOptions())
        return seams.summary([row])

    return measure


def test_a_copy_has_no_seam(measured):
    facts = measured(lambda picture, mask: picture)
    for name in ("border", "middle", "crop"):
        assert facts[name]["frames"] == facts[name]["picture"] and facts[name]["worst_excess"] == 0
    assert facts["colour"] == [0, 0, 0] and facts["colour_most"] == 0


def test_a_darker_patch_is_a_seam_and_a_shift(measured):
    """Ten less of 255 inside the mask: steps across its border grow by up to that, those at the crop do not."""

    def darker(picture, mask):
        picture[mask] = picture[mask].clip(10) - 10
        return picture

    facts = measured(darker)
    assert 2 < facts["border"]["worst_excess"] <= 10 and facts["crop"]["worst_excess"] == 0
    assert all(-10 <= shift < -1 for shift in facts["colour"]) and facts["colour_most"] <= 10


def test_steps_across_a_border():
    picture = np.zeros((6, 6, 3), np.uint8)
    picture[2:4, 2:4] = 30
    inside = picture[..., 0] > 0
    assert seams.steps_across(picture, inside).tolist() == [30.0] * 8
    below = np.zeros((6, 6), bool)
    below[3:] = True
    assert seams.steps_across(picture, inside, below).tolist() == [30.0] * 4  # two below, one at either side


def test_the_mask_of_a_real_frame(talker, example_portrait):
    """Where it is 0 the picture is kept to the bit, and it is not 0 everywhere."""
    portrait = talker.portrait(example_portrait)
    motion = portrait.faces[0].motion + 0.1
    frame = next(talker.draw(portrait, [motion]))
    mask = seams.mask_of(talker.model, portrait.faces[0], motion, frame.shape[:2])
    assert mask.shape == frame.shape[:2] and 0 < (mask > 0).mean() <= 1
    assert np.array_equal(frame[mask == 0], portrait.picture[mask == 0])


def test_the_command(talker, monkeypatch, capsys):
    still = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    monkeypatch.setattr(seams, "load", lambda *_: talker)
    monkeypatch.setattr(seams, "read_audio", lambda path: np.ones(2400, np.float32) * 0.1)
    monkeypatch.setattr(seams, "load_stills", lambda data, splits: [({"id": "a"}, still, None)])
    monkeypatch.setattr(seams, "EVERY", 2)
    assert study.main(["seams", "--data", "x", "--stills", "1"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["frames"] == 2 and rows[1]["pictures"] == 1


def test_skin_leaves_mouth_and_eyes_out(face):
    points = face.numpy()[:, :2] * 100 + np.float32([100, 80])
    skin = seams.skin_mask(points, (200, 200))
    x, y = points[[13, 14]].mean(0).astype(int)
    assert not skin[y, x] and skin.sum() > 2000
