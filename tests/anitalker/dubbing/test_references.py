"""References of the mouth: one of each class of opening, the sharpest and most frontal."""

import numpy as np
import pytest

from anitalker.dubbing.references import OPENINGS, ReferenceBank, sharpness
from tests.conftest import mean_face


def face_with(opening: float) -> np.ndarray:
    points = mean_face() * 0.5 + np.float32([0.5, 0.4, 0])
    points[14] = points[13] + np.float32([0, opening * 0.5, 0])
    return points


@pytest.fixture
def crop():
    return np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)


def test_each_class_of_opening_keeps_one(crop):
    bank = ReferenceBank()
    for opening in (0.0, 0.005, 0.02, 0.05, 0.08, 0.15, 0.2):
        bank.add(crop, face_with(opening), np.zeros(20, np.float32))
    openings = [np.linalg.norm(r.landmarks[13] - r.landmarks[14]) * 2 for r in bank.references()]
    assert len(openings) == len(OPENINGS) + 1
    assert openings == sorted(openings)


def test_the_sharper_one_stays_whatever_the_order(crop):
    blurred = np.full_like(crop, 127) + (crop // 8)
    for pictures in ((crop, blurred), (blurred, crop)):
        bank = ReferenceBank()
        for picture in pictures:
            bank.add(picture, face_with(0.0), np.zeros(20, np.float32))
        np.testing.assert_array_equal(bank.references()[0].crop, crop)


def test_a_turned_head_gives_way_to_a_frontal_one(crop):
    turned = np.zeros(20, np.float32)
    turned[0] = 0.7
    bank = ReferenceBank()
    bank.add(crop, face_with(0.0), turned)
    bank.add(crop[::-1], face_with(0.0), np.zeros(20, np.float32))
    assert bank.references()[0].motion[0] == 0


def test_lips_beyond_the_crop_have_no_sharpness(crop):
    assert sharpness(crop, face_with(0.0) + 2) == 0.0


def test_no_frames_no_references():
    assert ReferenceBank().references() == []


def test_other_shots_lend_openings_that_are_missing(crop):
    shot, other = ReferenceBank(), ReferenceBank()
    shot.add(crop, face_with(0.0), np.zeros(20, np.float32))
    other.add(crop[::-1], face_with(0.0), np.zeros(20, np.float32))
    other.add(crop[::-1], face_with(0.15), np.zeros(20, np.float32))
    shut, wide = shot.references([other])
    np.testing.assert_array_equal(shut.crop, crop)
    np.testing.assert_array_equal(wide.crop, crop[::-1])
