"""The formats of videos: what is in each file, what is refused, and that nothing half-written stays."""

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError
from anitalker.media.formats import FORMATS, MAX_PIXELS, check_length, check_video_output, sequence_files
from anitalker.media.video import probe, read_audio, read_frames
from anitalker.media.writer import VideoWriter


def colours(number, height=64, width=97):
    """A frame of blocks of colour that tells its number by the level of its first half."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[: height // 2] = 40 + 8 * number
    frame[height // 2 :] = (200, 60, 20)
    return frame


def write(path, speech=None, frames=10, **settings):
    with VideoWriter(path, 97, 64, speech, **settings) as writer:
        for number in range(frames):
            writer.write(colours(number))
    return path


def animation(file):
    with Image.open(file) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            yield np.asarray(picture.convert("RGB")), picture.info["duration"], picture.info["loop"]


@pytest.mark.parametrize(
    ("suffix", "codecs"), [("mp4", ("h264", "aac")), ("mov", ("h264", "aac")), ("webm", ("vp9", "opus"))]
)
def test_videos_with_sound(tmp_path, clicks, suffix, codecs):
    file = write(tmp_path / f"out.{suffix}", clicks, tags={"AIGC": '{"Label": "1"}'})
    media = probe(file)
    assert (media.video_codec, media.audio_codec) == codecs
    assert (media.width, media.height, media.fps) == (98, 64, 25)  # padded by a column
    assert (media.matrix, media.transfer, media.full_range) == ("bt709", "bt709", False)
    assert media.comment.startswith("Synthetic media") and media.aigc == '{"Label": "1"}'
    assert len(read_audio(file)) == pytest.approx(1.03 * 16_000, abs=400)
    frames = list(read_frames(file))
    np.testing.assert_allclose([frame[:28].mean() for frame in frames], [40 + 8 * n for n in range(10)], atol=3)
    np.testing.assert_allclose(frames[4][40:].mean((0, 1)), (200, 60, 20), atol=6)


@pytest.mark.parametrize(("suffix", "tolerance"), [("gif", 3), ("webp", 6)])
def test_animated_pictures(tmp_path, clicks, suffix, tolerance):
    """As many pixels as the frames, 25 frames per second, without end, and the colours of the frames."""
    frames = list(animation(write(tmp_path / f"out.{suffix}", clicks)))
    assert len(frames) == 10
    for number, (frame, duration, loop) in enumerate(frames):
        assert frame.shape == (64, 97, 3) and (duration, loop) == (40, 0)
        np.testing.assert_allclose(frame[:28].mean((0, 1)), 40 + 8 * number, atol=tolerance)
        np.testing.assert_allclose(frame[40:].mean((0, 1)), (200, 60, 20), atol=tolerance)


def test_lossless_webp(tmp_path):
    frames = animation(write(tmp_path / "out.webp", quality=0))
    assert all(np.array_equal(frame, colours(number)) for number, (frame, *_) in enumerate(frames))


def test_sequence_of_png(tmp_path):
    """Numbered from 1, pixel by pixel the frames; the folder's name may have a percent sign."""
    folder = tmp_path / "100%d"
    folder.mkdir()
    write(folder / "frame-%04d.png")
    assert sorted(file.name for file in folder.iterdir()) == [f"frame-{number:04}.png" for number in range(1, 11)]
    files = sequence_files(folder / "frame-%04d.png")
    assert all(np.array_equal(np.asarray(Image.open(file)), colours(number)) for number, file in enumerate(files))


def test_finish_gets_each_file_of_a_sequence(tmp_path):
    titles = []

    def finish(written, target, title):
        titles.append(title)
        target.write_bytes(written.read_bytes() + b"!")

    write(tmp_path / "f%d.png", frames=3, finish=finish)
    assert titles == ["f1.png", "f2.png", "f3.png"]
    assert sorted(file.name for file in tmp_path.iterdir()) == titles
    assert all(file.read_bytes().endswith(b"!") for file in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.webm", "out.gif", "out.webp", "out-%03d.png"])
def test_nothing_stays_of_what_fails(tmp_path, name):
    """Neither when the frames end in an error, nor when the last step does."""
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / name, 97, 64) as writer:
        writer.write(colours(0))
        raise ZeroDivisionError

    def fail(written, target, title):
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        write(tmp_path / name, finish=fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.avi", "ends in .mp4, .mov, .webm, .gif, .webp or .png"),
        ("out.png", "needs a number in its name, e.g. frame-%04d.png"),
        ("out-%s.png", "needs a number"),
        ("%d-%d.png", "needs a number"),
        ("missing/out-%d.png", "output folder is missing"),
    ],
)
def test_names_that_are_refused(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        check_video_output(tmp_path / name)


def test_frames_of_another_video_are_not_mixed_in(tmp_path):
    write(tmp_path / "a-%02d.png", frames=2)
    with pytest.raises(InputError, match=r"frames of another video: .*a-01.png.*another folder"):
        check_video_output(tmp_path / "a-%02d.png")
    check_video_output(tmp_path / "b-%02d.png")


def test_long_gif_and_webp_are_refused():
    frames = MAX_PIXELS // (480 * 640)
    check_length(FORMATS[".gif"], frames, 480, 640, 25)
    check_length(FORMATS[".mp4"], 10**6, 480, 640, 25)
    with pytest.raises(InputError, match=r"short videos: 69.8 s of 480x640 came, allowed are 35.0 s; give --size 339"):
        check_length(FORMATS[".gif"], 2 * frames, 480, 640, 25)
    check_length(FORMATS[".gif"], 2 * frames, 339, 452, 25)


def test_hevc_belongs_to_mp4_and_mov():
    assert FORMATS[".mov"].codec_of("hevc") == "hevc" and FORMATS[".webm"].codec_of("h264") == "vp9"
    with pytest.raises(InputError, match=r"codec is hevc, but GIF has its own"):
        FORMATS[".gif"].codec_of("hevc")
