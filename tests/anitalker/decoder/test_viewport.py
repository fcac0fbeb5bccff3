"""What is drawn of a part of a crop equals that part of the whole crop."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anitalker.decoder.compositor import Compositor
from anitalker.decoder.decoder import Layers
from anitalker.decoder.viewport import Viewport
from anitalker.faces.crop import Crop, crop_pixels, seen_part
from anitalker.faces.landmarks import from_canonical
from anitalker.faces.paste import paste_all

SIDE = 190


@pytest.mark.parametrize("total", [300, 256, 100])
def test_a_part_of_a_map_is_resized(total):
    field = torch.rand(2, 3, 256, 256)
    viewport = Viewport(7, 40, total - 20, total - 60, (total, total))
    whole = F.interpolate(field, size=(total, total), mode="bilinear", align_corners=False)
    torch.testing.assert_close(viewport.resize(field), whole[:, :, viewport.box[0], viewport.box[1]])


def test_rows_and_columns_become_a_viewport():
    assert Viewport.around(slice(0, 90), slice(20, 95), (100, 100)) == Viewport(0, 20, 90, 75, (100, 100))


@pytest.fixture
def layers(face):
    """Layers that move, synthesise and blink everywhere."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 8, 12, 12, generator=rng)
    fields = F.interpolate(coarse, size=(256, 256), mode="bicubic")
    points = from_canonical(face[None], torch.tensor([[0.1, 0, 0.1, 0, 0, -0.6]]))[..., :2]
    moved = points + 0.01 * torch.randn(points.shape, generator=rng)
    pair = torch.stack([points, moved], 1)
    return Layers(0.03 * fields[:, :2], fields[:, 2:5].softmax(1), fields[:, 5:].tanh(), pair)


@pytest.mark.parametrize("origin", [(-60, -80), (70, 30), (-40, 60), (10, 20), (-100, 5)])
def test_pixels_inside_do_not_depend_on_what_lies_outside(layers, origin):
    """Of a crop that reaches beyond its picture only the inside is composed, with the same pixels."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (30, 42, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    crop = Crop(None, None, tuple(map(float, origin)), float(SIDE), picture.shape[:2])
    rows, columns = seen_part(crop)
    (whole,) = Compositor(crop_pixels(picture, crop)).frames(layers)
    viewport = Viewport.around(rows, columns, (SIDE, SIDE))
    (cut,) = Compositor(crop_pixels(picture, crop, (rows, columns)), viewport).frames(layers)
    expected = paste_all(crop_pixels(picture, crop), [whole])
    frame = paste_all(crop_pixels(picture, crop, (rows, columns)), [cut])
    assert frame.size < expected.size
    difference = np.abs(frame.astype(int) - expected[rows, columns])
    # Rounding of a grid of another size; and beyond its border the whole crop repeats pixels, not their finer copy.
    assert np.quantile(difference, 0.999) <= 1 and difference.max() <= 12
    assert (frame != crop_pixels(picture, crop)[rows, columns]).mean() > 0.3


def test_a_crop_outside_of_its_picture_shows_nothing():
    for place in ((500, 0), (-500, 0), (0, 500)):
        crop = SimpleNamespace(origin=place, side=100.0, picture_size=(80, 90))
        rows, columns = seen_part(crop)
        assert (rows.stop - rows.start) * (columns.stop - columns.start) == 0
