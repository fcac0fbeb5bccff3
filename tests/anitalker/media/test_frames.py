"""Frames of every depth, range, matrix and pixel shape come out as the colours that went in; others in one line."""

import io
import logging
import subprocess

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media.frames import EXACT, frame_filters, read_pam_frame
from anitalker.media.streams import Media
from anitalker.media.video import ffmpeg, read_frames

COLOURS = np.array([[200, 60, 50], [60, 170, 80], [50, 80, 190], [220, 180, 150]], np.uint8)
BARS = np.repeat(np.repeat(COLOURS[None], 64, 0), 24, 1)  # [64,96,3]
BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
BT2020 = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020")


def encode(path, picture, filters, *flags, frames=3):
    """A picture, uint8 [H,W,3 or 4], as a video."""
    height, width, channels = picture.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24" if channels == 3 else "rgba", "-s", f"{width}x{height}", "-r", "25"]
    command = [ffmpeg(), "-v", "error", "-y", *raw, "-i", "pipe:0", "-vf", filters, *flags, path]
    subprocess.run(command, input=picture.tobytes() * frames, check=True)
    return path


def yuv(matrix, span, pixels):
    return f"scale=flags=accurate_rnd+full_chroma_int:out_color_matrix={matrix}:out_range={span},format={pixels}"


def hdr(transfer, pixels):
    return (
        f"format=gbrp,zscale=tin=iec61966-2-1:pin=bt709:min=gbr:rin=full:t={transfer}:p=bt2020:m=bt2020nc:r=limited:"
        f"npl=203,format={pixels}"
    )


X265 = ("-c:v", "libx265", "-x265-params", "log-level=none:crf=5")
X264 = ("-c:v", "libx264", "-crf", "5")
CASES = {
    "8 bits": (yuv("bt709", "tv", "yuv420p"), X264 + BT709),
    "HEVC Main10": (yuv("bt709", "tv", "yuv420p10le"), X265 + BT709),
    "ProRes 4:2:2 of 10 bits": (yuv("bt709", "tv", "yuv422p10le"), ("-c:v", "prores_ks", *BT709)),
    "ProRes 4:4:4:4": (yuv("bt709", "tv", "yuva444p10le"), ("-c:v", "prores_ks", "-profile:v", "4444", *BT709)),
    "12 bits": (yuv("bt709", "tv", "yuv422p12le"), ("-c:v", "ffv1", *BT709)),
    "RGB": ("format=gbrp", ("-c:v", "ffv1")),
    "RGB of 16 bits": ("format=gbrp16le", ("-c:v", "ffv1")),
    "full range": (yuv("bt601", "pc", "yuvj420p"), X264),
    "full range of 10 bits": (yuv("bt709", "pc", "yuv420p10le"), (*X265, *BT709, "-color_range", "pc")),
    "BT.2020 of SDR": (
        "format=gbrp,zscale=tin=iec61966-2-1:pin=bt709:min=gbr:rin=full:t=iec61966-2-1:p=bt2020:m=bt2020nc:r=limited,"
        "format=yuv444p10le",
        ("-c:v", "libx264", "-crf", "5", *BT2020, "-color_trc", "bt2020-10"),
    ),
    "HLG": (hdr("arib-std-b67", "yuv420p10le"), (*X265, *BT2020, "-color_trc", "arib-std-b67")),
    "PQ": (hdr("smpte2084", "yuv444p12le"), ("-c:v", "ffv1", *BT2020, "-color_trc", "smpte2084")),
}


@pytest.mark.parametrize("case", CASES)
def test_colours_come_back(tmp_path, case):
    """Of 255, in the middle of each bar."""
    filters, flags = CASES[case]
    frames = list(
        read_frames(encode(tmp_path / "x.mov" if "ProRes" in case else tmp_path / "x.mkv", BARS, filters, *flags))
    )
    assert len(frames) == 3 and all(frame.shape == (64, 96, 3) and frame.dtype == np.uint8 for frame in frames)
    np.testing.assert_allclose(frames[1][32, 12::24].astype(int), COLOURS.astype(int), atol=4)


@pytest.mark.parametrize("pixels", ["gray", "gray16le"])
def test_grey(tmp_path, pixels):
    ramp = np.linspace(0, 255, 96).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    frame = next(read_frames(encode(tmp_path / "x.mkv", ramp, f"format={pixels}", "-c:v", "ffv1")))
    np.testing.assert_allclose(frame.astype(int), ramp.astype(int), atol=2)


@pytest.mark.parametrize("size", [(96, 64), (1280, 720)])
def test_without_tags_the_size_tells_the_matrix(tmp_path, size):
    """As players do: BT.601 for small videos, BT.709 for HD."""
    matrix = "bt601" if size[0] < 1280 else "bt709"
    large = np.repeat(np.repeat(BARS[:1], size[1], 0), size[0] // 96 + 1, 1)[:, : size[0]]
    filters = f"{yuv(matrix, 'tv', 'yuv444p')},setparams=colorspace=unknown"
    path = encode(tmp_path / "x.mkv", large, filters, "-c:v", "ffv1", frames=1)
    np.testing.assert_allclose(next(read_frames(path))[9].astype(int), large[9].astype(int), atol=3)


ALPHA = {
    "x.mov": ("format=argb", "-c:v", "qtrle"),
    "x.mkv": ("format=gbrap16le", "-c:v", "ffv1"),
    "x.webm": ("format=yuva444p,format=yuva420p", "-c:v", "libvpx-vp9", "-auto-alt-ref", "0", "-b:v", "2M"),
}


@pytest.mark.parametrize("name", ALPHA)
def test_what_is_transparent_is_white(tmp_path, name):
    filters, *flags = ALPHA[name]
    picture = np.dstack([BARS, np.full(BARS.shape[:2], 255, np.uint8)])
    picture[:, :48, 3] = 0
    frame = next(read_frames(encode(tmp_path / name, picture, filters, *flags))).astype(int)
    np.testing.assert_allclose(frame[32, 12::24], [[255] * 3, [255] * 3, *COLOURS[2:].astype(int)], atol=6)


@pytest.mark.parametrize(("stored", "aspect"), [((72, 64), "4/3"), ((96, 32), "1/2"), ((48, 64), "2")])
def test_pixels_become_square(tmp_path, stored, aspect):
    """By making the picture larger, never smaller."""
    filters = f"scale={stored[0]}:{stored[1]}:flags=area,{yuv('bt709', 'tv', 'yuv420p')},setsar={aspect}"
    frame = next(read_frames(encode(tmp_path / "x.mp4", BARS, filters, *X264, *BT709)))
    assert frame.shape == (64, 96, 3)
    np.testing.assert_allclose(frame[32, 12::24].astype(int), COLOURS.astype(int), atol=5)


def test_a_turned_video_of_pixels_that_are_not_square(tmp_path):
    """The phone lay on its side; ffmpeg turns the picture, and with it the shape of the pixels."""
    filters = f"scale=72:64:flags=area,transpose=cclock,{yuv('bt709', 'tv', 'yuv420p')},setsar=3/4"
    encode(tmp_path / "flat.mp4", BARS, filters, *X264, *BT709)
    turn = ["-display_rotation", "270", "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "x.mov"]
    subprocess.run([ffmpeg(), "-v", "error", "-y", *turn], check=True)
    frame = next(read_frames(tmp_path / "x.mov"))
    assert frame.shape == (64, 96, 3)
    np.testing.assert_allclose(frame[32, 12::24].astype(int), COLOURS.astype(int), atol=5)


def test_fields_become_frames(tmp_path):
    """A bright bar that runs: between the fields of one frame it has moved, and leaves no comb."""
    flags = ["-flags", "+ildct+ilme", "-b:v", "8M", tmp_path / "x.mpg"]
    source = [
        "-f",
        "lavfi",
        "-i",
        "color=gray:s=96x64:r=50:d=0.5",
        "-f",
        "lavfi",
        "-i",
        "color=white:s=16x64:r=50:d=0.5",
    ]
    graph = "overlay=x='4*n':eval=frame,format=yuv420p,interlace=scan=tff:lowpass=off"
    command = [ffmpeg(), "-v", "error", "-y", *source, "-filter_complex", graph, "-c:v", "mpeg2video", *flags]
    subprocess.run(command, check=True)
    frame = list(read_frames(tmp_path / "x.mpg"))[5].astype(float).mean(-1)
    comb = np.abs(frame[1:-1] - (frame[:-2] + frame[2:]) / 2)[8:-8].mean()
    assert comb < 1  # 10 without the filter


def test_hdr_is_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        for case in ("HLG", "8 bits"):
            filters, flags = CASES[case]
            next(read_frames(encode(tmp_path / f"{case}.mkv", BARS, filters, *flags, frames=1), what="portrait"))
    assert [record.getMessage() for record in caplog.records] == [
        "portrait is HDR (HLG): its colours are tone-mapped to sRGB"
    ]


def test_a_matrix_that_cannot_be_read_is_refused(tmp_path):
    filters = "format=gbrp,zscale=min=gbr:m=ycgco,format=yuv444p"
    with pytest.raises(InputError, match=r"^video has colours in ycgco: .*; save it as MP4 with H.264, without HDR$"):
        next(read_frames(encode(tmp_path / "x.mkv", BARS, filters, "-c:v", "ffv1", "-colorspace", "ycgco")))


def pam(width=2, height=1, depth=3, white=255, data=bytes(range(6))):
    return b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\nENDHDR\n%s" % (width, height, depth, white, data)


def test_a_frame_of_the_pipe():
    stream = io.BytesIO(pam() + pam(1, 1, 4, data=bytes([100, 0, 255, 51])) + pam(9, 9))
    assert read_pam_frame(stream).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert read_pam_frame(stream).tolist() == [[[224, 204, 255]]]  # a fifth of it, on white
    assert read_pam_frame(stream) is None and read_pam_frame(io.BytesIO()) is None


@pytest.mark.parametrize(
    "data",
    [pam(white=65535), pam(depth=1), b"P6\n2 1\n255\nabcdef", b"P7\nWIDTH x\n", bytes(5000)],
    ids=["16 bits", "grey", "PPM", "no size", "zeros"],
)
def test_what_is_no_frame_is_refused_shortly(data):
    """Raw bytes in the message filled 14 kB."""
    with pytest.raises(ValueError, match="frame") as error:
        read_pam_frame(io.BytesIO(data))
    assert len(str(error.value)) < 60


def test_an_unexpected_stream_is_an_input_error(tmp_path, monkeypatch):
    path = encode(tmp_path / "x.mkv", BARS, "format=gbrp", "-c:v", "ffv1")
    monkeypatch.setattr("anitalker.media.video.frame_filters", lambda media, fps: "[0:0]format=gray16be[out]")
    with pytest.raises(InputError, match="video cannot be decoded: ") as error:
        next(read_frames(path))
    assert len(str(error.value)) < 250 and "\n" not in str(error.value)


def test_the_filters_do_nothing_that_is_not_needed():
    plain = Media(1, "h264", "yuv420p", 640, 480, video_index=1, matrix="bt709")
    assert frame_filters(plain, 25) == f"[0:1]fps=25,scale={EXACT},setsar=1,format=rgb24[out]"


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_a_video_is_not_darker(tmp_path, pixels):
    """By default ffmpeg's conversion takes one to two levels of 255 off all colours."""
    colours = np.random.default_rng(0).integers(40, 215, (8, 12, 3)).astype(np.uint8)
    picture = np.repeat(np.repeat(colours, 8, 0), 8, 1)
    path = encode(tmp_path / "x.mkv", picture, yuv("bt709", "tv", pixels), "-c:v", "ffv1", *BT709, frames=1)
    assert np.abs((next(read_frames(path)).astype(float) - picture).mean((0, 1))).max() < 0.7
