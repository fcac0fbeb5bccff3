"""Pictures of every mode come out as upright RGB; broken ones are refused in one line."""

import io
import logging
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from anitalker.config import InputError
from anitalker.media.images import read_picture
from anitalker.media.video import ffmpeg
from tests.anitalker.media.isobmff import colr, write_heic


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


def grey_profile(path):
    """A grey picture with a profile for RGB, as scanners and some editors write it."""
    grey = Image.fromarray(ramp()).convert("L")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey.save(path, icc_profile=srgb)
    return np.asarray(grey.convert("RGB"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_a_grey_picture_with_a_profile_for_rgb(tmp_path, suffix, caplog):
    """It warned that the profile cannot be used."""
    expected = grey_profile(tmp_path / f"x.{suffix}")
    with caplog.at_level(logging.WARNING):
        pixels = read_picture(tmp_path / f"x.{suffix}")
    assert caplog.records == []
    assert np.abs(pixels.astype(int) - expected).mean() < 2


def test_a_palette_with_a_profile(tmp_path, caplog):
    """The profile is applied to its colours, not to its indices."""
    picture = Image.fromarray(ramp()).quantize(64)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "x.png", icc_profile=srgb)
    assert np.abs(read_picture(tmp_path / "x.png").astype(int) - np.asarray(picture.convert("RGB"))).max() <= 1
    assert caplog.records == []


def test_a_profile_for_other_channels_is_told(tmp_path, caplog):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk = lab[:16] + b"CMYK" + lab[20:]
    Image.fromarray(ramp()).save(tmp_path / "x.png", icc_profile=cmyk)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), ramp())
    assert "profile cannot be used" in caplog.text


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Four bars, and a file of them."""
    bars = np.array([[200, 60, 50], [60, 170, 80], [50, 80, 190], [220, 180, 150]], np.uint8)
    picture = np.repeat(np.repeat(bars[None], 64, 0), 24, 1)
    path = tmp_path_factory.mktemp("colours") / "bars.png"
    Image.fromarray(picture).save(path)
    return picture, path


def to_hdr(transfer, pixels):
    """Filters of ffmpeg that show an sRGB picture at the reference white of HDR."""
    return (
        f"format=gbrp,zscale=tin=iec61966-2-1:pin=bt709:min=gbr:rin=full:t={transfer}:p=bt2020:m=bt2020nc:r=limited:"
        f"npl=203,format={pixels}"
    )


@pytest.mark.parametrize("transfer", ["arib-std-b67", "smpte2084"])
def test_hdr_avif(colours, tmp_path, transfer, caplog):
    """It was read 24 of 255 too pale."""
    picture, path = colours
    avif = ["-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "8", "-crf", "5", tmp_path / "x.avif"]
    filters = to_hdr(transfer, "yuv444p10le")
    subprocess.run([ffmpeg(), "-v", "error", "-i", path, "-vf", filters, *avif], check=True)
    pixels = read_picture(tmp_path / "x.avif")
    np.testing.assert_allclose(pixels[32, 12::24].astype(int), picture[32, 12::24].astype(int), atol=3)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"portrait is HDR ({'PQ' if transfer == 'smpte2084' else 'HLG'})"
    ]


def test_hdr_avif_where_ffmpeg_does_not_read_it(colours, tmp_path, monkeypatch):
    """Then Pillow's 8 bits are converted."""
    picture, path = colours
    avif = ["-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "8", "-crf", "5", tmp_path / "x.avif"]
    subprocess.run([ffmpeg(), "-v", "error", "-i", path, "-vf", to_hdr("smpte2084", "yuv444p10le"), *avif], check=True)

    def refuse(*_):
        raise InputError("unknown")
        yield

    monkeypatch.setattr("anitalker.media.images.read_frames", refuse)
    pixels = read_picture(tmp_path / "x.avif")
    np.testing.assert_allclose(pixels[32, 12::24].astype(int), picture[32, 12::24].astype(int), atol=15)


@pytest.mark.parametrize(("transfer", "code"), [("arib-std-b67", 18), ("smpte2084", 16)])
def test_hdr_heic(colours, tmp_path, transfer, code, caplog):
    """Cameras and phones write it with 10 bits."""
    pytest.importorskip("pi_heif")
    picture, path = colours
    write_heic(tmp_path / "x.heic", path, to_hdr(transfer, "yuv420p10le"), colr(9, code, 9))
    pixels = read_picture(tmp_path / "x.heic")
    assert pixels.shape == picture.shape
    np.testing.assert_allclose(pixels[32, 12::24].astype(int), picture[32, 12::24].astype(int), atol=4)
    assert "is HDR" in caplog.text


def test_wide_gamut_without_a_profile(colours, tmp_path):
    """An AVIF of Display P3 that says so by its tags alone."""
    picture, path = colours
    filters = (
        "format=gbrp,zscale=tin=iec61966-2-1:pin=bt709:min=gbr:rin=full:t=iec61966-2-1:p=smpte432:m=bt709:r=limited,"
        "format=yuv444p"
    )
    avif = ["-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "8", "-crf", "5", tmp_path / "x.avif"]
    subprocess.run([ffmpeg(), "-v", "error", "-i", path, "-vf", filters, *avif], check=True)
    pixels = read_picture(tmp_path / "x.avif")
    np.testing.assert_allclose(pixels[32, 12::24].astype(int), picture[32, 12::24].astype(int), atol=8)


def test_hdr_png(colours, tmp_path):
    """The chunk cICP of the third edition of PNG."""
    picture, _ = colours
    power = ((picture / 255) ** 2.2 * 203 / 10_000) ** 0.1593017578125
    signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    data = io.BytesIO()
    Image.fromarray(np.rint(signal * 255).astype(np.uint8)).save(data, "PNG")
    body = b"cICP" + bytes([1, 16, 0, 1])
    chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    (tmp_path / "x.png").write_bytes(data.getvalue()[:33] + chunk + data.getvalue()[33:])
    pixels = read_picture(tmp_path / "x.png")
    np.testing.assert_allclose(pixels[32, 12::24].astype(int), picture[32, 12::24].astype(int), atol=5)
