"""What a visitor may send is checked from headers, with what is allowed in the message."""

import struct
import zlib

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.server.limits import Limits, check_idle, check_media, check_picture, check_text

SMALL = Limits(media_seconds=1, megapixels=1, text_characters=10)


def huge_png(path, width, height):
    """A PNG whose header promises width x height and which holds nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_what_is_fine_passes(example_portrait, clicks):
    assert check_picture(example_portrait, Limits()) == example_portrait
    assert check_media(clicks, Limits(), sound=True) == clicks
    assert check_text("Hello", SMALL) == "Hello"


@pytest.mark.parametrize(("width", "height"), [(2000, 2000), (60_000, 60_000)])
def test_large_pictures_are_refused_unread(tmp_path, width, height):
    with pytest.raises(InputError, match="megapixels"):
        check_picture(huge_png(tmp_path / "huge.png", width, height), SMALL)


def test_long_recordings(clicks, make_wav, tmp_path):
    with pytest.raises(InputError, match="2 s long; allowed are 1 s"):
        check_media(make_wav(tmp_path / "long.wav", np.ones(32_000) * 0.1), SMALL)


def test_kinds(clicks, example_portrait):
    with pytest.raises(InputError, match="has no pictures"):
        check_media(clicks, Limits(), pictures=True)
    with pytest.raises(InputError, match="has no sound"):
        check_media(example_portrait, Limits(), sound=True)


@pytest.mark.parametrize("text", ["", "  \n", None, 3, "x" * 11])
def test_texts(text):
    with pytest.raises(InputError, match="text"):
        check_text(text, SMALL)


@pytest.mark.parametrize("seconds", ["8", None, True, 0, 1000, float("nan")])
def test_the_length_of_an_idle_video(seconds):
    with pytest.raises(InputError, match=r"long|seconds is"):
        check_idle(seconds, Limits(media_seconds=20))
    assert check_idle(8, Limits(media_seconds=20)) == 8.0
