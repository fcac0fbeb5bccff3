"""Frames of a clip with the luma and chroma that they were filmed with."""

import subprocess

import numpy as np
import pytest

from anitalker.media.clip import filmed_frames, frames_of, open_clip
from anitalker.media.video import ffmpeg

SIZE = "size=128x96:rate=25"
BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")


def film(path, source, filters, *flags):
    """A clip of a source of ffmpeg through filters."""
    command = [ffmpeg(), "-v", "error", "-y", "-f", "lavfi", "-i", source, "-vf", filters, *flags, str(path)]
    subprocess.run(command, check=True)
    return open_clip(path)


def decoded(path, pixels, *filters):
    """All frames of a video as ffmpeg decodes them, as bytes of a pixel format."""
    last = ["-f", "rawvideo", "-pix_fmt", pixels, "pipe:1"]
    command = [ffmpeg(), "-v", "error", "-i", str(path), *filters, *last]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.slow
def test_they_are_the_video_s_own(tmp_path):
    """To the bit and in any order, colours outside of sRGB included; RGB is that of the common reader."""
    source, filters = f"testsrc2={SIZE}:duration=0.4", "noise=alls=20:allf=t,format=yuv420p"
    clip = film(tmp_path / "x.mp4", source, filters, *LOSSLESS, *BT709, "-color_range", "tv")
    expected = np.frombuffer(decoded(clip.path, "yuv420p"), np.uint8).reshape(10, 144, 128)
    order = np.array([0, 3, 3, 9, 8, 7, 8])
    frames = list(filmed_frames(clip, order))
    np.testing.assert_array_equal([frame.planes for frame in frames], expected[order])
    for frame, shown in zip(frames, frames_of(clip, order), strict=True):
        assert np.abs((frame.rgb.astype(int) - shown).mean((0, 1))).max() < 2.5  # ffmpeg's quick way is darker by 1


@pytest.mark.parametrize(("matrix", "span"), [("bt601", "tv"), ("bt601", "pc"), ("bt709", "pc")])
def test_other_matrices_and_ranges_are_converted_once(tmp_path, matrix, span):
    """Colours come back, and are not darker: each step rounds; that from full range moves chroma by half a level."""
    colours = np.random.default_rng(0).integers(50, 206, (6, 8, 3)).astype(np.uint8)
    picture = colours.repeat(16, 0).repeat(16, 1)
    exact = f"scale=flags=accurate_rnd+full_chroma_inp:out_color_matrix={matrix}:out_range={span},format=yuv420p"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "128x96", "-r", "25", "-i", "pipe:0", "-vf", exact]
    tags = BT709 if matrix == "bt709" else ()
    command = [ffmpeg(), "-v", "error", *raw, *LOSSLESS, *tags, "-color_range", span, str(tmp_path / "x.mp4")]
    subprocess.run(command, input=picture.tobytes() * 2, check=True)
    frame = next(filmed_frames(open_clip(tmp_path / "x.mp4"), np.arange(1)))
    assert frame.planes is not None
    difference = frame.rgb[8::16, 8::16].astype(int) - colours
    assert np.abs(difference).max() <= 5 and abs(difference.mean()) < 0.8


@pytest.mark.parametrize("filters", ["format=gbrp", "format=yuv420p10le", "format=yuv444p", "crop=97:95:exact=1"])
def test_a_video_of_other_pixels_or_odd_sides_has_none(tmp_path, filters):
    clip = film(tmp_path / "x.mkv", f"testsrc2={SIZE}:duration=0.1", f"format=yuv420p,{filters}", "-c:v", "ffv1")
    frame, shown = (next(read(clip, np.arange(1))) for read in (filmed_frames, frames_of))
    assert frame.planes is None
    np.testing.assert_array_equal(frame.rgb, shown)


def test_a_reduced_video_keeps_the_place_of_chroma(tmp_path):
    """Blue begins in the middle. Chroma lies at the left ones of two columns, a quarter of its distance before the
    middle of both, so that a quarter of a value more is grey."""
    half = f"color=gray:{SIZE}:duration=0.1,drawbox=x=64:w=64:h=96:color=blue:t=fill"
    lies = "out_h_chr_pos=0:out_v_chr_pos=128"
    filters = f"scale=flags=accurate_rnd+full_chroma_inp:out_color_matrix=bt709:out_range=tv:{lies},format=yuv420p"
    clip = film(tmp_path / "x.mp4", half, f"format=gbrp,{filters}", *LOSSLESS, *BT709)
    planes = next(filmed_frames(open_clip(clip.path, size=64), np.arange(1))).planes
    assert planes is not None and planes.shape == (96, 86)
    chroma = planes[64:].reshape(2, 32, 43)[0, 16].astype(float)
    grey = 43 - (chroma - chroma[0]).sum() / (chroma[-1] - chroma[0])
    assert grey == pytest.approx(43 / 2 + 0.25, abs=0.06)
