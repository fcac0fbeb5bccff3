"""Put metadata into finished PNG, GIF and WebP files, byte by byte: their pixels stay as they are."""

from __future__ import annotations

import mmap
import struct
import zlib
from pathlib import Path

from anitalker.provenance.aigc import XMP_KEYWORD

SUFFIXES = (".png", ".gif", ".webp")
PNG_HEADER_BYTES = 33  # signature and IHDR
XMP_OF_GIF = b"XMP DataXMP"  # application identifier and code (XMP specification, part 3, 1.1.2)
# After the packet: whoever skips blocks by their length, anywhere in it, meets an end within these bytes.
XMP_TRAILER = bytes([1, *range(255, -1, -1), 0])
MAX_PACKET_BYTES = 2**20
WEBP_XMP_FLAG = 0x04


def add_metadata(file: Path, comment: str, xmp: str) -> None:
    """Add a comment, in Latin letters, and an XMP packet to a picture file of SUFFIXES, animated or not.

    A WebP has no place for a comment but its XMP.
    """
    data, packet = file.read_bytes(), xmp.encode()
    if file.suffix.lower() == ".png":
        data = _in_png(data, comment.encode("latin-1"), packet)
    elif file.suffix.lower() == ".gif":
        data = _in_gif(data, comment.encode("ascii"), packet)
    else:
        data = _in_webp(data, packet, file)
    file.write_bytes(data)


def read_gif_xmp(file: Path) -> bytes | None:
    """Return the XMP packet of a GIF file; None without one. Pillow reads that of PNG and WebP itself."""
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(XMP_OF_GIF)
        end = data.find(XMP_TRAILER, start, start + MAX_PACKET_BYTES) if start >= 0 else -1
        return data[start + len(XMP_OF_GIF) : end] if end >= 0 else None


def _in_png(data: bytes, comment: bytes, packet: bytes) -> bytes:
    """Chunks tEXt and iTXt after IHDR (PNG specification, 11.3.3); the latter uncompressed, as XMP asks."""
    text = _chunk(b"tEXt", b"Comment\0" + comment)
    international = _chunk(b"iTXt", XMP_KEYWORD.encode() + b"\0\0\0\0\0" + packet)
    return data[:PNG_HEADER_BYTES] + text + international + data[PNG_HEADER_BYTES:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _in_gif(data: bytes, comment: bytes, packet: bytes) -> bytes:
    """Extensions before the first frame (GIF89a, 24 and 26); the comment in one block."""
    flags = data[10]
    start = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)  # after the global table of colours
    comments = b"\x21\xfe" + bytes([len(comment)]) + comment + b"\0"
    return data[:start] + comments + b"\x21\xff\x0b" + XMP_OF_GIF + packet + XMP_TRAILER + data[start:]


def _in_webp(data: bytes, packet: bytes, file: Path) -> bytes:
    """A chunk at the end, and a flag of the header of extended files (RFC 9649, 2.7), which tells of it.

    A still picture may have no such header and gets one.
    """
    from PIL import Image

    if data[12:16] != b"VP8X":
        with Image.open(file) as picture:
            sides = b"".join(struct.pack("<I", side - 1)[:3] for side in picture.size)
        data = data[:12] + b"VP8X" + struct.pack("<II", 10, 0) + sides + data[12:]
    chunk = b"XMP " + struct.pack("<I", len(packet)) + packet + b"\0" * (len(packet) % 2)
    size = struct.pack("<I", len(data) - 8 + len(chunk))
    return data[:4] + size + data[8:20] + bytes([data[20] | WEBP_XMP_FLAG]) + data[21:] + chunk
