"""Pasting back undoes the crop, and nothing changes outside of it."""

import numpy as np
import pytest

from anitalker.faces.crop import crop_face, crop_pixels, seen_part
from anitalker.faces.paste import Patch, feathered, paste_all


@pytest.mark.parametrize("place", [(200, 140), (20, 20), (390, 280), (0, 290), (1000, 1000)])
def test_pasting_back_undoes_the_crop(picture, make_face, place):
    frame = crop_face(picture, make_face(*place))
    patch = feathered(picture, crop_pixels(picture, frame, seen_part(frame)), frame)
    assert np.array_equal(paste_all(picture, [patch]), picture)


def test_only_the_inside_of_the_crop_changes(picture, make_face):
    frame = crop_face(picture, make_face(200, 140, height=90))
    patch = crop_pixels(picture, frame).copy()
    patch[:] = 255 - patch
    before = picture.copy()
    pasted = paste_all(picture, [feathered(picture, patch, frame)])
    x, y, side = int(frame.origin[0]), int(frame.origin[1]), int(frame.side)
    assert np.array_equal(picture, before)
    outside = np.ones((300, 400), bool)
    outside[y + 1 : y + side - 1, x + 1 : x + side - 1] = False
    assert np.array_equal(pasted[outside], picture[outside])
    middle = slice(y + side // 4, y + side // 2), slice(x + side // 4, x + side // 2)
    assert np.array_equal(pasted[middle], 255 - picture[middle])


def test_changes_of_overlapping_patches_are_added(picture):
    first = Patch(10, 20, picture[10:60, 20:70].copy())
    second = Patch(30, 40, picture[30:90, 40:100].copy())
    first.pixels[:10], second.pixels[-10:] = 0, 255
    pasted = paste_all(picture, [first, second])
    assert (pasted[10:20, 20:70] == 0).all() and (pasted[80:90, 40:100] == 255).all()
    assert np.array_equal(pasted[30:60, 40:70], picture[30:60, 40:70])
