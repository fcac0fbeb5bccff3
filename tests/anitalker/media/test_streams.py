"""What ffmpeg prints of a file -> its properties, and which of several streams is taken."""

import pytest

from anitalker.media.streams import Media, parse_media

PHONE = """Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:IMG_0001.MOV':
  Metadata:
    comment         : at the lake
  Duration: 01:02:03.50, start: 0.000000, bitrate: 160 kb/s
  Stream #0:0[0x1](und): Video: hevc (Main 10) (hvc1 / 0x31637668), yuv420p10le(tv, bt2020nc/bt2020/arib-std-b67, \
progressive), 1920x1080, 114 kb/s, SAR 1:1 DAR 16:9, 59.94 fps, 59.94 tbr, 600 tbn (default)
    Side data:
      DOVI configuration record: version: 1.0, profile: 8, level: 4, compatibility id: 4, compression: 0
      Display Matrix: rotation of -90.00 degrees
  Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, mono, fltp, 96 kb/s (default)
  Stream #0:2[0x3](und): Audio: none (apac / 0x63617061), 48000 Hz, 4 channels, 320 kb/s
"""


def test_a_phone():
    media = parse_media(PHONE)
    assert media.seconds == 3723.5 and media.comment == "at the lake"
    assert (media.video_codec, media.video_index, media.pixel_format) == ("hevc", 0, "yuv420p10le")
    assert (media.width, media.height, media.fps, media.pixel_aspect) == (1920, 1080, 59.94, 1)
    assert (media.matrix, media.primaries, media.transfer) == ("bt2020nc", "bt2020", "arib-std-b67")
    assert media.full_range is False and not media.interlaced and media.is_yuv
    assert (media.audio_codec, media.audio_index, media.audio_rate, media.audio_layout) == ("aac", 1, 44100, "mono")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("yuv420p", (None, None, None, None, False)),
        ("yuv420p(tv, bt709)", (False, "bt709", "bt709", "bt709", False)),
        ("yuv420p(tv, bt709/unknown/unknown, progressive)", (False, "bt709", None, None, False)),
        ("yuvj420p(pc, bt470bg/unknown/unknown)", (True, "bt470bg", None, None, False)),
        ("yuv420p(top first)", (None, None, None, None, True)),
        ("yuv422p10le(tv, smpte170m, bottom coded first (swapped))", (False, *["smpte170m"] * 3, True)),
        ("gbrp10le(pc, gbr/bt2020/smpte2084)", (True, "gbr", "bt2020", "smpte2084", False)),
    ],
)
def test_colours_and_fields(words, expected):
    media = parse_media(f"  Stream #0:0: Video: h264 (High), {words}, 64x48, 25 fps")
    assert (media.full_range, media.matrix, media.primaries, media.transfer, media.interlaced) == expected
    assert (media.width, media.height) == (64, 48)


@pytest.mark.parametrize(
    ("aspect", "shown"),
    [
        ("[SAR 4:3 DAR 1:1]", (256, 256)),
        ("[SAR 1:2 DAR 3:8]", (192, 512)),
        ("[SAR 1:1 DAR 3:4], SAR 4:3 DAR 1:1", (256, 256)),
        ("[SAR 500:1 DAR 375:1]", (192, 256)),
        ("[SAR 0:1 DAR 0:1]", (192, 256)),
    ],
)
def test_pixels_that_are_not_square(aspect, shown):
    """The container's word counts more than the codec's; a pixel of 500:1 is a wrong header."""
    assert parse_media(f"  Stream #0:0: Video: h264, yuv420p, 192x256 {aspect}, 25 fps").shown_size == shown


TRACKS = """  Stream #0:0: Video: png, rgba(pc), 600x600 [SAR 1:1 DAR 1:1], 90k tbr (attached pic)
  Stream #0:1(deu): Audio: aac (LC), 48000 Hz, stereo, fltp
  Stream #0:2(eng): Audio: ac3, 44100 Hz, 5.1(side), fltp, 384 kb/s (default)
"""


def test_the_default_track_and_no_cover():
    media = parse_media(TRACKS)
    assert (media.audio_index, media.audio_codec, media.audio_layout) == (2, "ac3", "5.1(side)")
    assert media.video_codec is None and media.video_index is None
    assert parse_media(TRACKS.replace(" (default)", "")).audio_index == 1


def test_words_in_metadata_are_no_streams():
    media = parse_media(
        "    title           : Stream #0:0: Video: h264, yuv420p, 64x64\n  Stream #0:0: Audio: mp3, 8000 Hz, mono"
    )
    assert media.video_codec is None and media.audio_codec == "mp3"


def test_dolby_vision_of_its_own_colours():
    assert parse_media(PHONE.replace("profile: 8", "profile: 5")).matrix == "ipt-c2"


@pytest.mark.parametrize(
    ("name", "alpha", "yuv"),
    [
        ("yuv420p", False, True),
        ("nv12", False, True),
        ("yuyv422", False, True),
        ("p010le", False, True),
        ("y210le", False, True),
        ("yuva444p12le", True, True),
        ("gbrp10le", False, False),
        ("gbrap16le", True, False),
        ("gray10le", False, False),
        ("rgb24", False, False),
        ("bgra", True, False),
        ("ya8", True, False),
        ("pal8", True, False),
    ],
)
def test_pixel_formats(name, alpha, yuv):
    media = Media(None, pixel_format=name)
    assert (media.has_alpha, media.is_yuv) == (alpha, yuv)


def test_alpha_of_webm_needs_another_decoder():
    stream = "  Stream #0:0: Video: vp9 (Profile 0), yuv420p(tv), 64x64, 25 fps\n"
    assert not parse_media(stream).has_alpha
    media = parse_media(f"{stream}    Metadata:\n      alpha_mode      : 1\n")
    assert media.has_alpha and media.alpha_decoder == "libvpx-vp9"
