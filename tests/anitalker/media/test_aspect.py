"""The canvas around a picture: its size, the whole picture in it, and what fills the rest."""

import numpy as np
import pytest

from anitalker.media.aspect import Extension


def textured(width, height):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 7 % 256, columns * 5 % 256, (rows + columns) % 256], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "aspect", "canvas"),
    [
        ((1080, 1080), "9:16", (1080, 1920)),
        ((1080, 1080), "16:9", (1920, 1080)),
        ((1080, 1350), "1:1", (1350, 1350)),
        ((512, 512), "1:1", (512, 512)),
        ((501, 333), "9:16", (502, 892)),
        ((720, 1280), "9:16", (720, 1280)),
    ],
)
def test_the_smallest_canvas_that_holds_the_picture(picture, aspect, canvas):
    extension = Extension(*picture, aspect)
    assert (extension.width, extension.height) == canvas
    assert extension(textured(*picture)).shape == (canvas[1], canvas[0], 3)


def test_the_picture_is_whole_and_its_pixels_stay():
    frame = textured(200, 300)
    canvas = Extension(200, 300, "16:9")(frame)
    assert canvas.shape == (300, 534, 3)
    assert np.array_equal(canvas[:, 167:367], frame)


def test_the_shorter_side_is_kept_below_the_size():
    extension = Extension(1080, 1350, "16:9", 1080)
    assert (extension.width, extension.height) == (1920, 1080)
    canvas = extension(np.full((1350, 1080, 3), 200, np.uint8))
    assert (canvas[:, 528:1392] == 200).all() and (canvas[:, :520] < 160).all()


def test_the_copy_is_blurred_darker_and_of_the_pictures_colours():
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[:, :100], frame[:, 100:] = (200, 0, 0), (0, 0, 200)
    canvas = Extension(200, 200, "9:16")(frame).astype(int)
    band = canvas[:70]
    assert np.abs(np.diff(band, axis=1)).max() <= 8  # no edge is left
    np.testing.assert_allclose(band[:, 5].mean(0), (150, 0, 0), atol=12)
    np.testing.assert_allclose(band[:, -5].mean(0), (0, 0, 150), atol=12)
