"""The choice of an H.264 encoder, with a made-up ffmpeg: no card is needed."""

import pytest

from anitalker.media.h264 import LIST_ENCODERS, NVENC, NVENC_TRIAL, X264, encoder_arguments

BOTH = """Encoders:
 V..... = Video
 ------
 V....D libx264              libx264 H.264 / AVC / MPEG-4 AVC / MPEG-4 part 10 (codec h264)
 V....D h264_nvenc           NVIDIA NVENC H.264 encoder (codec h264)
"""
NONE = BOTH.replace("h264_nvenc  ", "h264_nvenc2 ")


def fake(listing, trial=0, status=0):
    """An ffmpeg that lists, and whose trial ends with a status; it notes what it was asked."""
    asked = []

    def ask(arguments):
        asked.append(arguments)
        return (status, listing) if arguments == LIST_ENCODERS else (trial, "")

    return ask, asked


def test_the_cards_encoder_where_it_is_listed_and_works():
    ask, asked = fake(BOTH)
    assert encoder_arguments("cuda", ask) == NVENC and encoder_arguments("cuda", ask) == NVENC
    assert asked == [LIST_ENCODERS, NVENC_TRIAL], "asked once, and tried before it is trusted"


@pytest.mark.parametrize(("listing", "trial", "status"), [(NONE, 0, 0), (BOTH, 1, 0), (BOTH, 0, 1), ("", 0, 0)])
def test_x264_where_it_is_missing_or_fails(listing, trial, status):
    assert encoder_arguments("cuda", fake(listing, trial, status)[0]) == X264


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_do_not_ask(device):
    ask, asked = fake(BOTH)
    assert encoder_arguments(device, ask) == X264 and not asked


def test_our_ffmpeg_is_asked_as_it_answers():
    """The ffmpeg that we bring lists x264 in the form that is looked for; without a card the trial fails."""
    from anitalker.media.video import run_ffmpeg

    status, listing = run_ffmpeg(LIST_ENCODERS)
    assert status == 0 and " libx264 " in listing
    assert run_ffmpeg(("-f", "lavfi", "-i", "nothing"))[0] != 0
