"""The dubber with the shipped weights: pixels change inside the region that it names, and only there."""

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media.images import read_picture
from anitalker.pipeline import load
from scripts.evaluation.dubber import Dubber, _at_pixels


@pytest.fixture(scope="module")
def dubber():
    talker = load("lite", "cpu")
    return Dubber(talker.model.dubbing, talker.finder(), lambda: talker.verifier)


@pytest.mark.slow
def test_pixels_change_inside_the_region_alone(dubber, example_portrait):
    import cv2

    frames = np.repeat(cv2.resize(read_picture(example_portrait), (320, 320), interpolation=cv2.INTER_AREA)[None], 6, 0)
    speech = np.random.default_rng(0).normal(0, 0.2, 3 * 640).astype(np.float32)  # shorter than the video
    tracks = dubber.follow(frames)
    dubbed, share = dubber.dub(frames, tracks, speech), dubber.region(frames, tracks, speech)
    assert dubbed.shape == frames.shape and share.shape == frames.shape[:3]
    changed = (dubbed != frames).any(-1)
    assert changed.any((1, 2)).all() and not changed[share == 0].any()
    assert 0.02 < (share > 0).mean() < 0.5 and share.max() == 1


@pytest.mark.slow
def test_no_face_is_an_error(dubber):
    with pytest.raises(InputError, match="no face"):
        dubber.follow(np.full((3, 128, 128, 3), 90, np.uint8))


def test_a_field_of_the_crop_lies_where_the_crop_lies():
    field = np.zeros((8, 8), np.float32)
    field[2:, 4:] = 1
    pixels = _at_pixels(field, np.array([10.0, -4.0, 32.0]), (40, 50))
    assert pixels.shape == (40, 50) and pixels[8:26, 30:40].min() == 1
    assert pixels[:, :24].max() == 0 and pixels[:2].max() == 0 and pixels[30:].max() == 0
