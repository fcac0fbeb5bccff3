"""Pictures of every mode come out as upright RGB; broken ones are refused in one line."""

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError
from anitalker.media.images import read_picture


def ramp(height=80, width=100):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2, y * 2, (x + y) % 200], -1).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK", "I;16"])
def test_modes(tmp_path, mode):
    picture = Image.fromarray(ramp())
    if mode == "I;16":
        expected = picture.convert("L").convert("RGB")
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
        expected = picture.convert("RGB")
    path = tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
    picture.save(path)
    np.testing.assert_array_equal(read_picture(path), np.asarray(expected))


def test_exif_orientation(tmp_path):
    picture = Image.fromarray(ramp())
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    picture.save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), np.rot90(ramp(), -1))


def test_transparent_is_white(tmp_path):
    Image.new("RGBA", (64, 64), (200, 0, 0, 0)).save(tmp_path / "x.png")
    assert (read_picture(tmp_path / "x.png") == 255).all()


def test_broken_profile_is_ignored(tmp_path):
    Image.fromarray(ramp()).save(tmp_path / "x.png", icc_profile=b"no profile")
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), ramp())


def test_broken(tmp_path):
    whole = tmp_path / "whole.jpg"
    Image.fromarray(ramp()).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:600])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    expected = {
        "cut.jpg": "damaged",
        "text.png": "not a picture",
        "empty.png": "empty",
        "small.png": "20x20",
        "none.png": "missing",
    }
    for name, words in expected.items():
        with pytest.raises(InputError, match=words) as error:
            read_picture(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="folder"):
        read_picture(tmp_path)
