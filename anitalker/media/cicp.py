"""Colour tags (CICP, ITU-T H.273) of picture files: AVIF, HEIC and PNG.

Pillow gives the pixels of such a file and not these tags. ISO base media files keep them in a box `colr` of type
`nclx` (ISO/IEC 14496-12), PNG in a chunk `cICP` (third edition). Names are those of ffmpeg.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

PRIMARIES = {1: "bt709", 9: "bt2020", 12: "smpte432"}
TRANSFERS = {1: "bt709", 13: "iec61966-2-1", 16: "smpte2084", 18: "arib-std-b67"}
MAX_META_BYTES = 2**22  # of what stands before the pixels
MAX_BOXES = 4096
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_cicp(file: Path) -> tuple[str | None, str | None]:
    """Read primaries and transfer function of a picture file; None for what is not there, not known, or damaged."""
    with open(file, "rb") as stream:
        start = stream.read(12)
        if start[4:8] != b"ftyp" and start[:8] != PNG_SIGNATURE:
            return None, None
        data = start + stream.read(MAX_META_BYTES)
    try:
        codes = _png_codes(data) if start[:8] == PNG_SIGNATURE else _isobmff_codes(data)
    except (struct.error, IndexError):
        codes = None
    return (PRIMARIES.get(codes[0]), TRANSFERS.get(codes[1])) if codes else (None, None)


def _png_codes(data: bytes) -> tuple[int, int] | None:
    """Return the codes of the chunk cICP, which stands before the pixels."""
    position = len(PNG_SIGNATURE)
    for _ in range(MAX_BOXES):
        size, name = struct.unpack_from(">I4s", data, position)
        if name == b"cICP":
            return data[position + 8], data[position + 9]
        if name == b"IDAT":
            return None
        position += size + 12
    return None


def _isobmff_codes(data: bytes) -> tuple[int, int] | None:
    """Return the codes of the primary item: those of a thumbnail or a gain map are others."""
    meta = next((body[4:] for name, body in _boxes(data) if name == b"meta"), b"")
    boxes = dict(_boxes(meta))
    item_properties = dict(_boxes(boxes.get(b"iprp", b"")))
    properties = list(_boxes(item_properties.get(b"ipco", b"")))
    for index in _property_indices(item_properties.get(b"ipma", b""), _primary_item(boxes.get(b"pitm", b""))):
        if 0 < index <= len(properties):
            name, body = properties[index - 1]
            if name == b"colr" and body[:4] == b"nclx":
                return struct.unpack_from(">HH", body, 4)
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and content of each box; the last may be cut off."""
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > len(data):
            return
        size, name = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, position + 8)[0], 16
        end = position + size if size else len(data)
        yield name, data[position + head : end]
        if end <= position:
            return
        position = end


def _primary_item(pitm: bytes) -> int:
    return struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)[0]


def _property_indices(ipma: bytes, item: int) -> list[int]:
    """Return the numbers, from 1, of the properties that belong to an item."""
    wide_items, wide_indices = ipma[0] > 0, ipma[3] & 1
    count, position = struct.unpack_from(">I", ipma, 4)[0], 8
    for _ in range(min(count, MAX_BOXES)):
        number = struct.unpack_from(">I" if wide_items else ">H", ipma, position)[0]
        position += 4 if wide_items else 2
        associations, position = ipma[position], position + 1
        form, mask = (">H", 0x7FFF) if wide_indices else (">B", 0x7F)  # the highest bit says `essential`
        size = struct.calcsize(form)
        indices = [struct.unpack_from(form, ipma, position + n * size)[0] & mask for n in range(associations)]
        if number == item:
            return indices
        position += associations * size
    return []
