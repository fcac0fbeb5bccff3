"""A HEIC of HEVC, put together box by box: nothing that we install writes one."""

import struct
import subprocess

from anitalker.media.video import ffmpeg


def box(name, *contents):
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), name) + body


def full_box(name, *contents, version=0, flags=0):
    return box(name, struct.pack(">I", version << 24 | flags), *contents)


def colr(primaries, transfer, matrix):
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, 0))


def find(data, name):
    """The first box of this name, with its header, wherever it is."""
    at = data.index(name) - 4
    return data[at : at + struct.unpack_from(">I", data, at)[0]]


def meta_box(colours, size, decoder=b"", depth=10, offset=0, length=0, thumbnail=None, primary=1):
    """The box `meta` of one HEVC item, and of a second, a thumbnail, with other colours."""
    properties = [box(b"hvcC", decoder), full_box(b"ispe", struct.pack(">II", *size)), colours]
    properties += [full_box(b"pixi", bytes([3, depth, depth, depth]))]
    properties += [thumbnail] if thumbnail else []
    first = struct.pack(">HB4B", 1, 4, 0x81, 2, 3, 4)
    second = struct.pack(">HB3B", 2, 3, 0x81, 2, 5) if thumbnail else b""
    associations = (second + first) if primary == 1 else (first + second)
    items = [full_box(b"infe", struct.pack(">HH4sx", number, 0, b"hvc1"), version=2) for number in (1, 2)]
    items = items if thumbnail else items[:1]
    return full_box(
        b"meta",
        full_box(b"hdlr", struct.pack(">I4s12sx", 0, b"pict", b"")),
        full_box(b"pitm", struct.pack(">H", primary)),
        full_box(b"iloc", struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, length)),
        full_box(b"iinf", struct.pack(">H", len(items)), *items),
        box(b"iprp", box(b"ipco", *properties), full_box(b"ipma", struct.pack(">I", len(items)), associations)),
    )


def write_heic(path, picture, filters, colours):
    """A picture, a PNG file, as HEIC of 10 bits with these colour tags."""
    video = path.with_suffix(".mp4")
    x265 = ["-c:v", "libx265", "-x265-params", "log-level=none:crf=4:repeat-headers=0:info=0", "-tag:v", "hvc1"]
    command = [ffmpeg(), "-v", "error", "-y", "-i", picture, "-vf", filters, "-frames:v", "1", *x265, video]
    subprocess.run(command, check=True)
    data = video.read_bytes()
    decoder, media = find(data, b"hvcC")[8:], find(data, b"mdat")[8:]
    from PIL import Image

    with Image.open(picture) as opened:
        size = opened.size
    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    length = len(head) + len(meta_box(colours, size, decoder))
    meta = meta_box(colours, size, decoder, offset=length + 8, length=len(media))
    path.write_bytes(head + meta + box(b"mdat", media))
    video.unlink()
    return path
