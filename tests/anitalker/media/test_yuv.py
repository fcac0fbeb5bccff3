"""Planes of luma and chroma: as ffmpeg computes them, and as filmed wherever nothing was changed."""

import subprocess

import numpy as np
import pytest

from anitalker.media.video import ffmpeg
from anitalker.media.writer import VideoWriter
from anitalker.media.yuv import FilmedFrame, keep_filmed, rgb_to_yuv420, split_planes, yuv420_to_rgb

ACCURATE = "flags=accurate_rnd+full_chroma_inp+full_chroma_int+bicubic"
LEFT = "{0}_h_chr_pos=0:{0}_v_chr_pos=128"


def swscale(data, size, pixels, filters, wanted):
    """Frames as ffmpeg converts them with filters: bytes of `pixels` -> those of `wanted`."""
    raw = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{size[1]}x{size[0]}", "-i", "pipe:0", "-vf", filters]
    command = [ffmpeg(), "-v", "error", *raw, "-f", "rawvideo", "-pix_fmt", wanted, "pipe:1"]
    return np.frombuffer(
        subprocess.run(command, input=data.tobytes(), capture_output=True, check=True).stdout, np.uint8
    )


def picture(height=258, width=96):
    """Soft colours of all kinds, uint8 [H,W,3]; 258 rows are two tiles and a bit."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + k) * np.cos(y / (7 + 3 * k) - k) for k in range(3)]
    return (127.5 + 110 * np.stack(waves, -1)).round().astype(np.uint8)


def noise(height=66, width=50):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "frame", [picture(), noise(), noise(2, 2), noise(64, 2)], ids=lambda f: "x".join(map(str, f.shape))
)
def test_planes_are_those_of_bt709(frame):
    """Against the formula: luma is rounded once; chroma, 1:2:1 over columns and 1:1 over rows, three times."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    luma = frame @ weights
    blue, red = (frame[..., 2] - luma) / 1.8556, (frame[..., 0] - luma) / 1.5748
    padded = np.pad(np.stack([blue, red]), ((0, 0), (0, 0), (1, 0)), "edge")
    columns = (padded[..., :-1:2] + 2 * padded[..., 1::2] + np.concatenate([padded[..., 2::2]], -1)) / 4
    chroma = (columns[:, ::2] + columns[:, 1::2]) / 2
    ours = split_planes(rgb_to_yuv420(frame))
    assert np.abs(ours[0] - (16 + luma * 219 / 255)).max() < 0.7
    assert np.abs(ours[1] - (128 + chroma * 224 / 255)).max() < 1.6
    assert abs((ours[1] - (128 + chroma * 224 / 255)).mean()) < 0.2 or chroma.size < 200


def test_planes_are_those_of_ffmpeg():
    frame = picture()
    filters = f"scale=out_color_matrix=bt709:out_range=tv:{LEFT.format('out')}:{ACCURATE}"
    theirs = swscale(frame, frame.shape, "rgb24", filters, "yuv420p").reshape(-1, frame.shape[1])
    difference = np.abs(rgb_to_yuv420(frame).astype(int) - theirs)
    assert difference.max() <= 2 and difference.mean() < 0.3


def test_pixels_are_those_of_ffmpeg():
    frame = picture()
    planes = rgb_to_yuv420(frame)
    filters = f"scale=in_color_matrix=bt709:in_range=tv:{LEFT.format('in')}:{ACCURATE.replace('bicubic', 'bilinear')}"
    theirs = swscale(planes, frame.shape, "yuv420p", filters, "rgb24").reshape(frame.shape)
    difference = yuv420_to_rgb(planes).astype(int) - theirs
    assert np.abs(difference).max() <= 3 and np.abs(difference).mean() < 0.6 and abs(difference.mean()) < 0.3


def test_grey_and_the_ends_of_the_range():
    ramp = np.arange(256).astype(np.uint8)[None, :, None].repeat(4, 0).repeat(3, 2)
    luma, chroma = split_planes(rgb_to_yuv420(ramp))
    assert (luma.min(), luma.max()) == (16, 235) and (chroma == 128).all()
    assert np.abs(yuv420_to_rgb(rgb_to_yuv420(ramp)).astype(int) - ramp).max() <= 1


def filmed(height=70, width=48):
    """A frame as filmed: planes of noise, whose chroma no picture has after a step to RGB and back."""
    planes = np.random.default_rng(1).integers(40, 210, (height * 3 // 2, width)).astype(np.uint8)
    return FilmedFrame(yuv420_to_rgb(planes), planes)


@pytest.mark.parametrize("box", [np.s_[9:20, 31:45], np.s_[0:3, 0:5], np.s_[69:, 47:], np.s_[:, :], np.s_[40:40]])
def test_blocks_that_did_not_change_are_as_filmed(box):
    frame = filmed()
    drawn = frame.rgb.copy()
    drawn[box] ^= 1
    changed = (drawn != frame.rgb).any(-1).reshape(35, 2, 24, 2).any((1, 3))
    masks = changed.repeat(2, 0).repeat(2, 1), changed[None].repeat(2, 0)
    new, old, kept = (
        split_planes(planes) for planes in (rgb_to_yuv420(drawn), frame.planes, keep_filmed(drawn, frame))
    )
    for ours, converted, film, mask in zip(kept, new, old, masks, strict=True):
        np.testing.assert_array_equal(ours, np.where(mask, converted, film))


def test_a_frame_whose_planes_are_not_known_is_converted():
    drawn = picture()
    np.testing.assert_array_equal(keep_filmed(drawn, FilmedFrame(drawn)), rgb_to_yuv420(drawn))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_what_is_written_without_loss_are_these_planes(tmp_path, codec):
    frames = [filmed(64, 96), filmed(64, 96)]
    drawn = frames[1].rgb.copy()
    drawn[20:30, 40:60] = 0
    with VideoWriter(tmp_path / "x.mp4", 96, 64, codec=codec, quality=0) as writer:
        writer.write(frames[0].rgb, frames[0])
        writer.write(drawn, frames[1])
        writer.write(drawn)
    raw = ["-i", tmp_path / "x.mp4", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    data = subprocess.run([ffmpeg(), "-v", "error", *raw], capture_output=True, check=True).stdout
    written = np.frombuffer(data, np.uint8).reshape(3, 96, 96)
    expected = [frames[0].planes, keep_filmed(drawn, frames[1]), rgb_to_yuv420(drawn)]
    np.testing.assert_array_equal(written, expected)
