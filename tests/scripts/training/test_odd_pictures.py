"""Pictures that are no faces: repeatable, of the right size."""

import numpy as np
import pytest

from scripts.training import odd_pictures


@pytest.mark.parametrize("kind", odd_pictures.KINDS)
def test_every_kind_is_a_picture_and_repeats(still, kind):
    picture, points = still
    before = picture.copy()
    one, two = (odd_pictures.KINDS[kind](picture, points, np.random.default_rng(3)) for _ in range(2))
    assert one.dtype == np.uint8 and one.ndim == 3 and min(one.shape[:2]) == 256
    assert np.array_equal(one, two) and np.array_equal(picture, before)
    assert one.shape != picture.shape or (one != picture).any()


def test_turns_and_tiles_keep_the_pixels(still):
    picture, points = still
    assert np.array_equal(odd_pictures.upside_down(odd_pictures.upside_down(*still, None), points, None), picture)
    tiles = odd_pictures.shuffled(picture, points, np.random.default_rng(0))
    assert np.array_equal(np.sort(tiles.ravel()), np.sort(picture.ravel())) and (tiles != picture).any()
