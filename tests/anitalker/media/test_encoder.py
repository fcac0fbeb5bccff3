"""The choice of an encoder, with a made-up ffmpeg: no card is needed. What x264 and x265 write, with ours."""

import numpy as np
import pytest

from anitalker.config import InputError, RenderOptions
from anitalker.media.encoder import LIST_ENCODERS, encoder_arguments, nvenc_arguments, nvenc_trial, software_arguments
from anitalker.media.video import ffmpeg, probe, read_frames, run_ffmpeg
from anitalker.media.writer import VideoWriter

ALL = """Encoders:
 V..... = Video
 ------
 V....D libx264              libx264 H.264 / AVC / MPEG-4 AVC / MPEG-4 part 10 (codec h264)
 V....D libx265              libx265 H.265 / HEVC (codec hevc)
 V....D h264_nvenc           NVIDIA NVENC H.264 encoder (codec h264)
 V....D hevc_nvenc           NVIDIA NVENC hevc encoder (codec hevc)
"""
NONE = ALL.replace("_nvenc  ", "_nvenc2 ")
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "17")
NVENC = ("-c:v", "h264_nvenc", "-preset", "p4", "-rc", "vbr", "-cq", "19", "-b:v", "0")


def fake(listing, trial=0, status=0):
    """An ffmpeg that lists, and whose trial ends with a status; it notes what it was asked."""
    asked = []

    def ask(arguments):
        asked.append(arguments)
        return (status, listing) if arguments == LIST_ENCODERS else (trial, "")

    return ask, asked


def test_the_cards_encoder_where_it_is_listed_and_works():
    ask, asked = fake(ALL)
    assert encoder_arguments("cuda", ask) == NVENC and encoder_arguments("cuda", ask) == NVENC
    assert asked == [LIST_ENCODERS, nvenc_trial("h264")], "asked once, and tried before it is trusted"
    assert encoder_arguments("cuda", ask, "hevc", 50) == nvenc_arguments("hevc", 49)
    assert nvenc_trial("hevc") in asked and "hvc1" in nvenc_arguments("hevc", 20)


@pytest.mark.parametrize(("listing", "trial", "status"), [(NONE, 0, 0), (ALL, 1, 0), (ALL, 0, 1), ("", 0, 0)])
def test_x264_where_it_is_missing_or_fails(listing, trial, status):
    assert encoder_arguments("cuda", fake(listing, trial, status)[0]) == X264


def test_what_loses_nothing_is_not_left_to_the_card():
    ask, asked = fake(ALL)
    assert encoder_arguments("cuda", ask, "h264", 0) == software_arguments("h264", 0) and not asked


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_do_not_ask(device):
    ask, asked = fake(ALL)
    assert encoder_arguments(device, ask) == X264 and not asked


def test_an_ffmpeg_without_hevc():
    with pytest.raises(InputError, match="codec is hevc, but this ffmpeg has no libx265; take --codec h264"):
        encoder_arguments("cpu", fake(ALL.replace("libx265", "libxyz"))[0], "hevc")


def test_our_ffmpeg_is_asked_as_it_answers():
    """The ffmpeg that we bring lists x264 in the form that is looked for; without a card the trial fails."""
    status, listing = run_ffmpeg(LIST_ENCODERS)
    assert status == 0 and " libx264 " in listing
    assert run_ffmpeg(("-f", "lavfi", "-i", "nothing"))[0] != 0


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_quality(tmp_path, codec):
    """A larger number is a smaller file; at 0 the frames are those of the step from RGB to YUV and back."""
    if codec == "hevc" and " libx265 " not in run_ffmpeg(LIST_ENCODERS)[1]:
        pytest.skip(f"{ffmpeg()} has no x265")
    frame = np.random.default_rng(0).integers(60, 190, (128, 192, 1)).repeat(3, 2).astype(np.uint8)  # grey: no chroma
    sizes, errors = {}, {}
    for quality in (0, 17, 40):
        path = tmp_path / f"{quality}.mp4"
        with VideoWriter(path, 192, 128, codec=codec, quality=quality) as writer:
            for _ in range(3):
                writer.write(frame)
        sizes[quality] = path.stat().st_size
        errors[quality] = np.abs(list(read_frames(path))[1].astype(float) - frame).mean()
    assert probe(path).video_codec == codec and (b"hvc1" in path.read_bytes()) == (codec == "hevc")
    assert sizes[0] > sizes[17] > sizes[40] and errors[0] < 0.6 < errors[17] < errors[40]


def test_the_default_stands_in_one_place(tmp_path):
    """What is written without these options is what is written with their defaults, to the byte."""
    for name, options in {"a": {}, "b": {"codec": RenderOptions.codec, "quality": RenderOptions.quality}}.items():
        with VideoWriter(tmp_path / f"{name}.mp4", 64, 64, **options) as writer:
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
