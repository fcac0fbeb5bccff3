"""Frames as ffmpeg writes them to a pipe: the filters that make them sRGB in square pixels, and how they are read."""

from __future__ import annotations

from typing import IO

import numpy as np

from anitalker.media.streams import Media
from anitalker.media.tone_mapping import needs_conversion

HD_LINES, HD_COLUMNS = 576, 1280  # a video with more lines or so many columns has the matrix of HD if it names none
# Matrices that ffmpeg can turn into RGB. Others: YCgCo, ICtCp, and what Dolby Vision has in profile 5 (ipt-c2).
READABLE_MATRICES = (None, "gbr", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc")
EIGHT_BIT_420 = ("yuv420p", "yuvj420p", "nv12", "nv21")
# Without them ffmpeg's conversion takes one to two levels of 255 off.
EXACT = "flags=bicubic+accurate_rnd+full_chroma_int"
# Where chroma lies, in 256th of a pixel of luma: ffmpeg takes the middle of its pixels if it is not told.
LEFT_CHROMA = "in_h_chr_pos=0:in_v_chr_pos=128:out_h_chr_pos=0:out_v_chr_pos=128"
MAX_HEADER_LINES, MAX_LINE_BYTES = 16, 256  # of PAM; ffmpeg writes 7 short lines


def has_planes(media: Media) -> bool:
    """Whether a video is made of luma and chroma as the encoder takes them: 4:2:0 of 8 bits, in the colours of sRGB."""
    deep = needs_conversion(media.primaries, media.transfer)
    return media.pixel_format in EIGHT_BIT_420 and not media.has_alpha and not deep


def frame_filters(media: Media, rate: float | str, size: tuple[int, int] | None = None, planes: bool = False) -> str:
    """Return the filter graph from the chosen video stream to [out]: 8 bits a channel, RGB or, with alpha, RGBA; or,
    of a video that has them, the planes of `media.yuv`, which are as filmed where nothing has to be converted.

    The order: fields to frames, the rate, square pixels and the YUV matrix, and, where the colours are not those of
    sRGB, the table of input 1 (see `tone_mapping.hald_picture`). rate: frames per second, or the filters that choose
    the frames; size: width and height of the frames, None: the video's own in square pixels.
    """
    steps = ["bwdif=mode=send_frame:deint=interlaced"] if media.interlaced else []
    steps += [rate if isinstance(rate, str) else f"fps={rate}", _scale(media, size, planes), "setsar=1"]
    source = f"[0:{media.video_index}]"
    if planes:
        return f"{source}{','.join([*steps, 'format=yuv420p'])}[out]"
    last = "format=rgba" if media.has_alpha else "format=rgb24"
    if not needs_conversion(media.primaries, media.transfer):
        return f"{source}{','.join([*steps, last])}[out]"
    deep = "format=rgba64le" if media.has_alpha else "format=rgb48le"
    return f"{source}{','.join([*steps, deep])}[frames];[frames][1:v]haldclut,{last}[out]"


def _scale(media: Media, size: tuple[int, int] | None, planes: bool) -> str:
    """Return the filter that brings frames to `size` and names the matrix where no tag does; planes: of BT.709.

    Without a size it stretches pixels to squares, never dropping any. ffmpeg turns a rotated video upright first, so
    the filter reads the aspect of the pixels from the frame (sar).
    """
    options = [EXACT] if media.is_yuv else []
    if size:
        options += [f"w={size[0]}", f"h={size[1]}"]
    elif media.pixel_aspect != 1:
        options += ["w=round(iw*max(sar\\,1))", "h=round(ih/min(sar\\,1))"]
    if media.is_yuv and media.matrix is None:
        hd = (media.height or 0) > HD_LINES or (media.width or 0) >= HD_COLUMNS
        wide = needs_conversion(media.primaries, media.transfer) and media.primaries in (None, "bt2020")
        options.append(f"in_color_matrix={'bt2020' if wide else 'bt709' if hd else 'bt601'}")
    if planes:
        options += ["out_color_matrix=bt709:out_range=tv", LEFT_CHROMA]
    return f"scale={':'.join(options)}" if options else "scale"


def read_planes(stream: IO[bytes], size: tuple[int, int]) -> np.ndarray | None:
    """Read the planes uint8 [3H/2,W] of one frame, see `yuv`; size: its even width and height. None at the end."""
    width, height = size
    data = stream.read(width * height * 3 // 2)
    return np.frombuffer(data, np.uint8).reshape(-1, width) if len(data) == width * height * 3 // 2 else None


def read_pam_frame(stream: IO[bytes]) -> np.ndarray | None:
    """Read one frame, uint8 [H,W,3], transparency on white; None at the end. ValueError for anything that is no frame.

    PAM: http://netpbm.sourceforge.net/doc/pam.html
    """
    first = stream.readline(MAX_LINE_BYTES)
    if not first:
        return None
    if first != b"P7\n":
        raise ValueError("ffmpeg wrote no frames")
    header: dict[bytes, bytes] = {}
    for _ in range(MAX_HEADER_LINES):
        name, _, value = stream.readline(MAX_LINE_BYTES).strip().partition(b" ")
        if name == b"ENDHDR":
            break
        header[name] = value
    try:
        height, width, depth, white = (int(header[name]) for name in (b"HEIGHT", b"WIDTH", b"DEPTH", b"MAXVAL"))
    except (KeyError, ValueError):
        raise ValueError("a frame has no size") from None
    if depth not in (3, 4) or white != 255:
        raise ValueError(f"a frame has {depth} channels up to {white}")
    data = stream.read(height * width * depth)
    if len(data) < height * width * depth:
        return None
    frame = np.frombuffer(data, np.uint8).reshape(height, width, depth)
    return frame if depth == 3 else _on_white(frame)


def _on_white(frame: np.ndarray) -> np.ndarray:
    """Lay a frame with straight alpha, uint8 [H,W,4], on white, as pictures are: uint8 [H,W,3]."""
    alpha = frame[..., 3:].astype(np.uint16)
    return ((frame[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
