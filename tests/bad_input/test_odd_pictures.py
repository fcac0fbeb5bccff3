"""Pictures from real life: every format that we claim ends in a video, everything else in one line."""

import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError
from anitalker.media.images import MAX_SIDE, read_picture
from anitalker.media.writer import VideoWriter
from tests.bad_input.command_line import arguments

SIZE = (120, 96)


def face(mode="RGB"):
    """A picture that is not one colour: where it is, the fixed finder sees a face."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return Image.fromarray(np.stack([x * 2, y * 2, (x + y) % 200], -1).astype(np.uint8)).convert(mode)


def save_heic(path):
    """An HEIC that was made once, 96x72, by libheif's encoder; ours only decodes."""
    pytest.importorskip("pi_heif")
    from base64 import b64decode
    from pathlib import Path

    path.write_bytes(b64decode((Path(__file__).parent / "face.heic.b64").read_text()))


def several(*names, **more):
    """Frames of an animation: the face, then black."""
    return {"save_all": True, "append_images": [Image.new("RGB", SIZE)] * 3, "duration": 40, **more}


def png_header(width, height):
    """A PNG whose header promises what the file does not hold."""
    raw = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(b"\0" * 1000)
    body = b"IDAT" + data
    chunks = [
        len(part[4:]).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big") for part in (raw, body, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bmp_header(width, height):
    buffer = io.BytesIO()
    face().save(buffer, "BMP")
    head = bytearray(buffer.getvalue())
    head[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return bytes(head)


GOOD = {
    "JPEG": ("x.jpg", "RGB", {}),
    "progressive JPEG": ("x.jpg", "RGB", {"progressive": True}),
    "grey JPEG": ("x.jpg", "L", {}),
    "CMYK JPEG": ("x.jpg", "CMYK", {}),
    "palette PNG": ("x.png", "P", {}),
    "PNG with alpha": ("x.png", "RGBA", {}),
    "grey PNG with alpha": ("x.png", "LA", {}),
    "black and white PNG": ("x.png", "1", {}),
    "16-bit PNG": ("x.png", "I;16", {}),
    "WebP": ("x.webp", "RGB", {}),
    "lossless WebP with alpha": ("x.webp", "RGBA", {"lossless": True}),
    "AVIF": ("x.avif", "RGB", {}),
    "BMP": ("x.bmp", "RGB", {}),
    "CMYK TIFF": ("x.tiff", "CMYK", {}),
    "float TIFF": ("x.tiff", "F", {}),
    "JPEG 2000": ("x.jp2", "RGB", {}),
    "animated GIF": ("x.gif", "RGB", several()),
    "animated WebP": ("x.webp", "RGB", several(lossless=True)),
    "animated PNG": ("x.png", "RGB", several()),
    "a JPEG called PNG": ("x.png", "RGB", {"format": "JPEG"}),
    "a PNG without a suffix": ("portrait", "RGB", {"format": "PNG"}),
}


@pytest.mark.parametrize("case", GOOD)
def test_every_format_is_read(tmp_path, case):
    """Upright, of its size, and about its colours: of animations the first frame."""
    name, mode, how = GOOD[case]
    picture = face("L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    picture.save(tmp_path / name, **how)
    pixels = read_picture(tmp_path / name)
    assert pixels.shape == (SIZE[1], SIZE[0], 3) and pixels.dtype == np.uint8
    expected = np.asarray(face("L" if mode in ("I;16", "F") else mode).convert("RGB")).astype(int)
    assert np.abs(pixels - expected).mean() < 12


def test_heic(tmp_path):
    save_heic(tmp_path / "x.heic")
    pixels = read_picture(tmp_path / "x.heic")
    assert pixels.shape == (72, 96, 3)
    assert pixels[36, 80, 0] > pixels[36, 10, 0] + 60  # red grows to the right


@pytest.mark.parametrize("suffix", ["avif", pytest.param("gif", marks=pytest.mark.slow)])
def test_a_portrait_of_a_modern_format_renders(place, rendered, suffix):
    face().save(place / f"x.{suffix}")
    video = rendered(portrait=f"x.{suffix}")
    assert (video.width, video.height) == SIZE


def test_the_first_good_frame_of_a_video(place, rendered):
    """The finder sees no face in one colour: the second half of the video has one."""
    with VideoWriter("clip.mp4", *SIZE) as writer:
        for number in range(50):
            writer.write(np.asarray(face()) if number > 30 else np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    video = rendered(portrait="clip.mp4")
    assert (video.width, video.height) == SIZE


BAD = {
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>', "SVG drawing"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "PostScript"),
    "PNG bomb": (png_header(30000, 30000), "pixels"),
    "PNG bomb of 2 billion a side": (png_header(2**31 - 1, 2**31 - 1), "pixels"),
    "BMP that promises 100000x100000": (bmp_header(100000, 100000), "pixels"),
    "PNG of 0x0": (png_header(0, 0), "portrait"),
    "PNG one pixel high": (png_header(4000, 1), "4000x1"),
    "PNG of too little data": (png_header(500, 500), "damaged"),
    "zeros": (bytes(5000), "not a picture"),
    "half a WebP": (b"RIFF\xff\xff\x00\x00WEBPVP8 \x00\x00", "damaged"),
    "HTML": (b"<!doctype html><html><body>404 not found</body></html>", "not a picture"),
    "a zip": (b"PK\x03\x04" + bytes(60), "not a picture"),
    "a playlist that names other files": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "not a picture"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_picture_is_refused(place, refused, case):
    data, words = BAD[case]
    (place / "bad.png").write_bytes(data)
    refused(arguments(portrait="bad.png"), words)


def test_a_video_without_a_face(place, refused):
    refused(arguments(portrait="mute.mp4"), "no face")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    "kind", ["jpg", pytest.param("png", marks=pytest.mark.slow), pytest.param("palette.png", marks=pytest.mark.slow)]
)
def test_a_hundred_megapixels_in_bounded_memory(tmp_path, kind):
    """Read in a process of its own; the peak of the whole process counts."""
    big = Image.new("L" if kind != "palette.png" else "P", (11600, 8700), 128)
    big.paste(200, (0, 0, 4000, 4000))
    big.save(tmp_path / f"big.{kind}", **({"compress_level": 1} if "png" in kind else {}))
    del big
    code = (
        "import sys; from anitalker.media.images import read_picture; p = read_picture(sys.argv[1]);"
        "status = open('/proc/self/status').read(); print(*p.shape, int(status.split('VmHWM:')[1].split()[0]) // 1024)"
    )
    command = [sys.executable, "-c", code, tmp_path / f"big.{kind}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    height, width, _, megabytes = map(int, done.stdout.split())
    assert (width, height) == (MAX_SIDE, 3072) and megabytes < 900


def test_the_thumbnail_keeps_orientation_and_profile(tmp_path):
    picture = face().resize((MAX_SIDE + 1000, 200))
    exif = picture.getexif()
    exif[0x0112] = 8  # shown turned by 90 degrees to the left
    picture.save(tmp_path / "x.jpg", exif=exif)
    pixels = read_picture(tmp_path / "x.jpg")
    assert pixels.shape[0] == MAX_SIDE and pixels.shape[1] < 200
    assert pixels[0, 80, 0] > pixels[-1, 80, 0]  # the right side is up


def test_a_picture_that_is_too_small_after_its_header(tmp_path):
    face().resize((200, 63)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="200x63"):
        read_picture(tmp_path / "x.png")
