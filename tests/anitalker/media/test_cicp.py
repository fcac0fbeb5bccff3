"""Colour tags of picture files: those of the picture itself, and none where a file is damaged."""

import struct
import subprocess
import zlib

import pytest

from anitalker.media.cicp import read_cicp
from anitalker.media.video import ffmpeg
from tests.anitalker.media.isobmff import box, colr, meta_box

HEAD = box(b"ftyp", b"heic\0\0\0\0mif1heic")
HLG, SRGB = colr(9, 18, 9), colr(1, 13, 6)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + b"".join(chunks) + chunk(b"IDAT", b"x")


TAGGED = {
    "HEIC": (HEAD + meta_box(HLG, (64, 64)), ("bt2020", "arib-std-b67")),
    "sRGB with an HDR thumbnail": (HEAD + meta_box(SRGB, (64, 64), thumbnail=HLG), ("bt709", "iec61966-2-1")),
    "the second item": (HEAD + meta_box(SRGB, (64, 64), thumbnail=HLG, primary=2), ("bt2020", "arib-std-b67")),
    "unknown codes": (HEAD + meta_box(colr(2, 2, 2), (64, 64)), (None, None)),
    "PNG": (png(chunk(b"cICP", bytes([9, 16, 0, 1]))), ("bt2020", "smpte2084")),
    "PNG without tags": (png(), (None, None)),
    "PNG with a chunk after the pixels": (png() + chunk(b"cICP", bytes([9, 16, 0, 1])), (None, None)),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(50), (None, None)),
}


@pytest.mark.parametrize("case", TAGGED)
def test_tags(tmp_path, case):
    data, expected = TAGGED[case]
    (tmp_path / "x").write_bytes(data)
    assert read_cicp(tmp_path / "x") == expected


def test_damaged_files_have_no_tags(tmp_path):
    """Cut anywhere, or with a size that points nowhere: no error, no endless loop."""
    for data in (TAGGED["HEIC"][0], TAGGED["PNG"][0]):
        for length in range(0, len(data), 7):
            (tmp_path / "x").write_bytes(data[:length])
            assert read_cicp(tmp_path / "x") in ((None, None), ("bt2020", "arib-std-b67"), ("bt2020", "smpte2084"))
    for size in (0, 1, 4, 2**32 - 1):
        (tmp_path / "x").write_bytes(HEAD + struct.pack(">I4s", size, b"meta") + bytes(100))
        assert read_cicp(tmp_path / "x") == (None, None)


def test_an_avif_of_an_encoder(tmp_path):
    tags = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:range=tv"
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", "1", "-vf", f"format=yuv420p10le,{tags}"]
    avif = ["-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "8", tmp_path / "x.avif"]
    subprocess.run([ffmpeg(), "-v", "error", *source, *avif], check=True)
    assert read_cicp(tmp_path / "x.avif") == ("bt2020", "smpte2084")
