"""The picture is reduced once, after its faces are found; everything after works at that size."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from anitalker.config import CROP, InputError, RenderOptions
from anitalker.faces.crop import finer_image
from anitalker.media.video import probe
from anitalker.portrait import reduce_picture

QUICK = RenderOptions(steps=2, batch_size=1)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 255, (600, 900, 3), np.uint8)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((600, 900), 400, (400, 600)),
        ((900, 600), 400, (600, 400)),
        ((601, 903), 333, (332, 500)),
        ((600, 900), 600, (600, 900)),
        ((599, 901), 1080, (599, 901)),
        ((600, 900), "original", (600, 900)),
    ],
)
def test_a_picture_is_reduced_to_even_sides_and_never_enlarged(shape, size, expected):
    assert reduce_picture(np.zeros((*shape, 3), np.uint8), size).shape[:2] == expected


@pytest.mark.slow
def test_the_default_is_written_once(talker):
    """A picture of any size becomes 1080 on its shorter side, by whatever way it comes."""
    picture = np.random.default_rng(0).integers(0, 255, (1100, 1650, 3), np.uint8)
    assert RenderOptions().size == 1080
    for portrait in (talker.portrait(picture), talker.prepare(picture, RenderOptions())):
        assert portrait.picture.shape == (1080, 1620, 3) and portrait.size == 1080


def test_faces_are_found_before_the_picture_is_reduced(talker, noise, monkeypatch):
    finder, seen = talker.finder(), []
    monkeypatch.setattr(finder, "find", lambda pixels, find=finder.find: seen.append(pixels.shape) or find(pixels))
    whole, reduced = talker.portrait(noise, size="original"), talker.portrait(noise, size=300)
    assert seen == [noise.shape] * 2 and reduced.picture.shape == (300, 450, 3)
    np.testing.assert_allclose(reduced.found[0].landmarks, whole.found[0].landmarks / 2, atol=1e-3)
    assert abs(reduced.faces[0].crop.side - whole.faces[0].crop.side / 2) <= 1
    np.testing.assert_allclose(reduced.faces[0].crop.landmarks, whole.faces[0].crop.landmarks, atol=0.01)


def test_networks_see_a_small_face_as_it_came(talker):
    """A face that is reduced below the networks' 256 pixels is cut out of the picture that came."""
    y, x = np.mgrid[:800, :800] / 800
    picture = (np.stack([x, y, (x * 40 % 1)], -1) * 255).astype(np.uint8)
    whole, reduced = talker.portrait(picture, size="original"), talker.portrait(picture, size=200)
    assert reduced.faces[0].crop.side < CROP / 1.2
    images = [portrait.faces[0].crop.image.astype(float) for portrait in (whole, reduced)]
    stripes = [np.abs(np.diff(image[..., 2], axis=1)).mean() for image in images]
    assert stripes[1] > 0.9 * stripes[0]
    coarse = np.asarray(Image.fromarray(reduced.picture).resize((800, 800)))
    assert np.abs(np.diff(finer_image(coarse, reduced.faces[0].crop)[..., 2].astype(float))).mean() < 0.9 * stripes[0]


def test_resized_without_finding_faces_again(talker, noise, clicks, monkeypatch):
    portrait = talker.portrait(noise, size=500)
    monkeypatch.setattr(talker.finder(), "find", lambda pixels: pytest.fail("looked again"))
    small = talker.resized(portrait, 256)
    assert small.picture.shape == (256, 384, 3) and small.indices == portrait.indices and small.size == 256
    assert talker.resized(portrait, 500) is portrait and talker.resized(portrait, "original") is portrait
    motion = talker.motion(portrait, clicks, QUICK)
    assert next(talker.draw(small, motion, QUICK)).shape == small.picture.shape
    with pytest.raises(InputError, match="size is 'wide'"):
        talker.resized(portrait, "wide")


@pytest.mark.slow
def test_a_video_of_a_reduced_portrait(talker, noise, clicks, tmp_path):
    Image.fromarray(noise).save(tmp_path / "large.png")
    output = tmp_path / "out.mp4"
    facts = talker.render(tmp_path / "large.png", clicks, output, RenderOptions(steps=2, size=100))
    assert (facts["width"], facts["height"], facts["size"]) == (150, 100, 100)
    assert (probe(output).width, probe(output).height) == (150, 100)
    assert json.dumps(facts)


def test_a_face_that_becomes_small_is_told(talker, noise, caplog):
    talker.portrait(noise, size=400)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        talker.portrait(noise, size=64)
    assert [record.getMessage() for record in caplog.records] == [
        "face 0 has 32 pixels in a video of 96x64; a larger size, or original, shows more of it"
    ]


@pytest.mark.parametrize("value", [720, "720", " 720 ", "original", "Original"])
def test_sizes(value):
    assert RenderOptions(size=value).size in (720, "original")


@pytest.mark.parametrize("value", ["", "720p", "7.5", 7.5, True, None, "-720", 63, 4097, "1e3", "²", "9" * 5000])
def test_sizes_that_are_none(value):
    with pytest.raises(InputError, match=r"^size is .{1,60}; allowed (is|are) ") as told:
        RenderOptions(size=value)
    assert "\n" not in str(told.value)
