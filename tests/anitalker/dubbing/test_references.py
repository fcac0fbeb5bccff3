"""References of the mouth: one of each class of opening, the sharpest and most frontal."""

import numpy as np
import pytest

from anitalker.dubbing.references import OPENINGS, ROW, ReferenceBank, sharpness
from anitalker.dubbing.spool import Spool
from tests.conftest import mean_face


def face_with(opening: float) -> np.ndarray:
    points = mean_face() * 0.5 + np.float32([0.5, 0.4, 0])
    points[14] = points[13] + np.float32([0, opening * 0.5, 0])
    return points


def bank_of(*frames) -> ReferenceBank:
    bank = ReferenceBank(Spool(ROW, np.uint8))
    for crop, opening, motion in frames:
        bank.add(crop, face_with(opening), motion)
    return bank


def patch_of(crop: np.ndarray, opening: float) -> np.ndarray:
    return bank_of((crop, opening, FRONT)).references()[0].patch


FRONT = np.zeros(20, np.float32)


@pytest.fixture
def crop():
    return np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)


def test_each_class_of_opening_keeps_one(crop):
    bank = bank_of(*((crop, opening, FRONT) for opening in (0.0, 0.005, 0.02, 0.05, 0.08, 0.15, 0.2)))
    openings = [np.linalg.norm(r.landmarks[13] - r.landmarks[14]) * 2 for r in bank.references()]
    assert len(openings) == len(OPENINGS) + 1
    assert openings == sorted(openings)


def test_the_sharper_one_stays_whatever_the_order(crop):
    blurred = np.full_like(crop, 127) + (crop // 8)
    for pictures in ((crop, blurred), (blurred, crop)):
        bank = bank_of(*((picture, 0.0, FRONT) for picture in pictures))
        np.testing.assert_array_equal(bank.references()[0].patch, patch_of(crop, 0.0))


def test_a_turned_head_gives_way_to_a_frontal_one(crop):
    turned = np.zeros(20, np.float32)
    turned[0] = 0.7
    assert bank_of((crop, 0.0, turned), (np.ascontiguousarray(crop[::-1]), 0.0, FRONT)).references()[0].motion[0] == 0


def test_lips_beyond_the_crop_have_no_sharpness(crop):
    assert sharpness(crop, face_with(0.0) + 2) == 0.0


def test_no_frames_no_references():
    assert bank_of().references() == []


def test_other_shots_lend_openings_that_are_missing(crop):
    other = np.ascontiguousarray(crop[::-1])
    shut, wide = bank_of((crop, 0.0, FRONT)).references([bank_of((other, 0.0, FRONT), (other, 0.15, FRONT))])
    np.testing.assert_array_equal(shut.patch, patch_of(crop, 0.0))
    np.testing.assert_array_equal(wide.patch, patch_of(other, 0.15))
