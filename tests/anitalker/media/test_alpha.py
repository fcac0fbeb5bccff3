"""Videos with alpha: each format keeps it, and what none of it fits is refused."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError, RenderOptions
from anitalker.media.aspect import Extension
from anitalker.media.formats import FORMATS, check_options
from anitalker.media.video import ffmpeg, probe
from anitalker.media.writer import VideoWriter
from anitalker.provenance import marks

HEIGHT, WIDTH = 64, 96


def disc(number=0):
    """A red disc on nothing, its edge soft; what is transparent is blue."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    alpha = np.clip(20 - np.hypot(rows - 32, columns - 40 - number), 0, 1) * 255
    frame = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    frame[..., 0], frame[..., 2], frame[..., 3] = 220, 40, alpha
    return frame


def write(path, frames=4, **settings):
    with VideoWriter(path, WIDTH, HEIGHT, alpha=True, **settings) as writer:
        for number in range(frames):
            writer.write(disc(number))
    return path


def decoded(file, decoder=()):
    """Frames uint8 [n,H,W,4] as ffmpeg reads them with alpha."""
    command = [ffmpeg(), "-v", "error", *decoder, "-i", str(file), "-f", "rawvideo", "-pix_fmt", "rgba", "pipe:1"]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, HEIGHT, WIDTH, 4)


@pytest.mark.parametrize(
    ("suffix", "codec", "decoder"), [("webm", "vp9", ("-c:v", "libvpx-vp9")), ("mov", "prores", ())]
)
def test_videos_keep_alpha(tmp_path, clicks, suffix, codec, decoder):
    file = write(tmp_path / f"out.{suffix}", speech_path=clicks)
    media = probe(file)
    assert media.video_codec == codec and media.audio_codec and media.has_alpha
    frames = decoded(file, decoder)
    assert len(frames) == 4
    for number, frame in enumerate(frames):
        truth = disc(number)
        assert np.abs(frame[..., 3].astype(int) - truth[..., 3]).mean() < 2
        inside = truth[..., 3] == 255
        np.testing.assert_allclose(frame[inside][:, :3].mean(0), (220, 0, 40), atol=8)


def test_animated_pictures_keep_alpha(tmp_path):
    for suffix, whole in (("webp", False), ("gif", True)):
        with Image.open(write(tmp_path / f"out.{suffix}")) as picture:
            assert picture.n_frames == 4
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        truth = disc()[..., 3]
        assert np.abs(alpha.astype(int) - truth).mean() < 4 and alpha[32, 40] == 255 and alpha[2, 2] == 0
        assert not whole or set(np.unique(alpha)) == {0, 255}


def test_a_sequence_of_png_is_exact(tmp_path):
    write(tmp_path / "frame-%02d.png")
    for number in range(4):
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"frame-0{number + 1}.png")), disc(number))


@pytest.mark.parametrize(
    ("suffix", "options", "words"),
    [
        ("mp4", {}, "background is transparent, but MP4 has no transparency; write a .webm, .mov, .png or .webp"),
        ("mov", {"codec": "hevc"}, "codec is hevc, but transparent MOV has its own"),
        ("webm", {"background": "blurry"}, "background is 'blurry'; allowed are keep, transparent, blur"),
    ],
)
def test_what_does_not_fit_is_refused(suffix, options, words):
    with pytest.raises(InputError, match=words):
        check_options(FORMATS[f".{suffix}"], RenderOptions(**{"background": "transparent", **options}))


def test_what_is_around_a_picture_with_alpha_is_transparent():
    canvas = Extension(WIDTH, HEIGHT, "1:1")(disc())
    assert canvas.shape == (WIDTH, WIDTH, 4) and not canvas[:16].any() and not canvas[-16:].any()
    assert np.array_equal(canvas[16:-16], disc())


@pytest.mark.parametrize("style", ["words", "icon"])
def test_a_label_is_never_transparent(style):
    frame = np.zeros((256, 256, 4), np.uint8)
    for apply_filter in marks.frame_filters(256, 256, True, True, style=style):
        frame = apply_filter(frame)
    opaque = frame[..., 3] == 255
    assert 0.005 < opaque.mean() < 0.25 and frame[opaque][:, :3].max() > 200
    assert not frame[~opaque][:, 3].any()


def test_drawn_subtitles_are_never_transparent(tmp_path):
    from anitalker.media.subtitles import Cue, Subtitles

    cue = Cue(0.0, 1.0, "HELLO")
    file = write(tmp_path / "out.webm", subtitles=Subtitles((cue,), True))
    drawn = decoded(file, ("-c:v", "libvpx-vp9"))[1]
    below = drawn[48:]
    assert (below[..., 3] > 200).any() and below[below[..., 3] > 200][:, :3].max() > 200
