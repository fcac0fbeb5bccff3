"""A video at its own rate: rates, sizes, how many frames, and the same pixels however a frame is reached."""

import logging
import subprocess
from fractions import Fraction

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media import clip as clips
from anitalker.media.clip import frame_rate, frames_of, open_clip
from anitalker.media.video import ffmpeg, read_frames

# Level of grey = number of the frame, modulo 50; a moving bar makes neighbours differ.
COUNTER = "nullsrc=s=128x96:r={rate}:d={seconds},geq=lum='16+4*mod(N,50)':cb=128:cr=128"
FAST = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "12")


def run(*arguments):
    subprocess.run([ffmpeg(), "-v", "error", "-y", *map(str, arguments)], check=True)


def counter(path, rate="25", seconds=2.0, *flags):
    run("-f", "lavfi", "-i", COUNTER.format(rate=rate, seconds=seconds), *(flags or FAST), path)
    return path


def numbers(frames):
    """The number modulo 50 that each frame of a counter shows."""
    return [round((frame[40:60, 40:60].mean() / 255 * 219) / 4) for frame in frames]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """5 s with a key frame every second, B frames and a moving picture."""
    path = tmp_path_factory.mktemp("clip") / "long.mp4"
    run("-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=5", *FAST[:-2], "-bf", 3, "-g", 25, path)
    return path


@pytest.mark.parametrize(
    ("mean", "nominal", "rate"),
    [
        (25, 25, 25),
        (23.98, 23.98, Fraction(24000, 1001)),
        (24, 24, 24),
        (29.97, 29.97, Fraction(30000, 1001)),
        (59.94, 59.94, Fraction(60000, 1001)),
        (12.5, 12.5, Fraction(25, 2)),
        (240, 240, 120),
        (239.76, 239.76, Fraction(120000, 1001)),
        (28.7, 30, 30),  # a phone in the dark
        (29.41, 90000, 30),  # the clock's rate is no rate of pictures
        (25, 50, 25),  # fields
        (29.97, 59.94, Fraction(30000, 1001)),
        (None, None, 25),
        (29.9, None, Fraction(299, 10)),
    ],
)
def test_rates(mean, nominal, rate):
    assert frame_rate(mean, nominal) == rate


@pytest.mark.parametrize("rate", ["24000/1001", "25", "60"])
def test_the_own_rate(tmp_path, rate):
    clip = open_clip(counter(tmp_path / "x.mp4", rate, 1.0))
    assert clip.fps == Fraction(rate) and (clip.width, clip.height) == (128, 96)
    assert clip.frames == round(float(Fraction(rate))) and clip.seconds == pytest.approx(1, abs=0.03)
    assert numbers(frames_of(clip, np.arange(clip.frames))) == [n % 50 for n in range(clip.frames)]


@pytest.mark.slow
def test_a_frame_is_the_same_however_it_is_reached(long):
    """Forwards, backwards in chunks, skipping, and from a later start: to the bit."""
    clip = open_clip(long)
    forwards = list(frames_of(clip, np.arange(clip.frames)))
    assert clip.frames == len(forwards) == 125
    assert len({frame.tobytes() for frame in forwards}) == 125
    for indices in (range(124, 60, -1), range(124, 0, -7), [0, 0, 3, 3, 90, 91, 90, 89, 89, 100], [117, 116, 117]):
        for index, frame in zip(indices, frames_of(clip, np.array(list(indices))), strict=True):
            assert np.array_equal(frame, forwards[index]), index
    late = open_clip(long, 3.2, 4.4)
    assert (late.frames, late.start, late.first) == (30, 3.2, 80)
    for index, frame in enumerate(frames_of(late, np.arange(30))):
        assert np.array_equal(frame, forwards[80 + index])


def test_backwards_in_chunks(long, monkeypatch):
    clip = open_clip(long, 1.0, 2.0)
    forwards = list(frames_of(clip, np.arange(25)))
    monkeypatch.setattr(clips, "CHUNK_BYTES", 10 * 128 * 96 * 3)
    calls = []
    read = clips._read
    monkeypatch.setattr(clips, "_read", lambda *arguments: calls.append(arguments[1:3]) or read(*arguments))
    backwards = list(frames_of(clip, np.arange(24, -1, -1)))
    assert calls == [(15, 25), (5, 15), (0, 5)]
    assert all(np.array_equal(a, b) for a, b in zip(backwards, forwards[::-1], strict=True))


def test_frames_are_those_of_the_common_reader(long):
    clip = open_clip(long)
    for ours, theirs in zip(frames_of(clip, np.arange(5)), read_frames(long), strict=False):
        assert np.array_equal(ours, theirs)


def test_a_variable_rate_is_read_by_its_time_stamps(tmp_path):
    """A second at 25, then a second at 50 frames per second: half of the frames of the first are shown twice."""
    run("-f", "lavfi", "-i", COUNTER.format(rate=50, seconds=2), "-vf", "select='gte(t,1)+not(mod(n,2))'", "-fps_mode",
        "vfr", *FAST, tmp_path / "x.mkv")  # fmt: skip
    clip = open_clip(tmp_path / "x.mkv")
    assert clip.fps == 50 and clip.frames == 100
    expected = [n // 2 * 2 if n < 50 else n for n in range(100)]
    assert numbers(frames_of(clip, np.arange(100))) == [n % 50 for n in expected]
    assert numbers(frames_of(clip, np.arange(99, -1, -1))) == [n % 50 for n in expected[::-1]]


def test_a_rotated_video_is_upright(tmp_path):
    counter(tmp_path / "flat.mp4", "25", 0.4)
    run("-display_rotation", 90, "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "x.mp4")
    clip = open_clip(tmp_path / "x.mp4")
    assert (clip.width, clip.height) == (96, 128)
    assert next(iter(frames_of(clip, np.array([3])))).shape == (128, 96, 3)


@pytest.mark.parametrize(("size", "shape"), [(64, (64, 86)), (65, (64, 86)), (96, (96, 128)), (400, (96, 128))])
def test_the_shorter_side_is_limited(long, size, shape):
    clip = open_clip(long, size=size)
    assert (clip.height, clip.width) == shape
    assert next(iter(frames_of(clip, np.array([0])))).shape == (*shape, 3)


def test_pictures_that_begin_after_the_sound(tmp_path, clicks):
    """The first frame is held, so that pictures and sound stay in step."""
    late = ["-itsoffset", 0.2, "-f", "lavfi", "-i", COUNTER.format(rate=25, seconds=0.4), "-i", clicks]
    run(*late, "-map", "0:v", "-map", "1:a", *FAST, "-c:a", "flac", tmp_path / "x.mkv")
    clip = open_clip(tmp_path / "x.mkv")
    assert numbers(frames_of(clip, np.arange(clip.frames))) == [0] * 5 + list(range(10))


def test_a_header_that_does_not_tell_the_length(tmp_path):
    """As browsers record: no duration, no index."""
    flags = ("-c:v", "libvpx", "-b:v", "2M", "-f", "webm", "-live", "1")
    clip = open_clip(counter(tmp_path / "x.webm", "25", 2.0, *flags))
    assert clip.media.seconds is None and clip.frames == 50
    assert numbers(frames_of(clip, np.array([40, 41, 40]))) == [40, 41, 40]


def test_a_video_whose_end_is_missing(tmp_path, caplog):
    """A download that broke off: the index tells of frames that are not there."""
    path = tmp_path / "x.mp4"
    run("-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=4", *FAST, "-g", 10, "-movflags", "+faststart", path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    clip = open_clip(path)
    assert 40 < clip.frames < 70
    assert len(list(frames_of(clip, np.arange(clip.frames)))) == clip.frames and not caplog.records
    with pytest.raises(InputError, match=r"^to is 3 s, but the video has pictures up to [12]\.\d\d s; choose less$"):
        open_clip(path, 0, 3)


def test_frames_that_are_missing_after_all_are_repeated(long, caplog):
    from dataclasses import replace

    clip = replace(open_clip(long), frames=140)
    with caplog.at_level(logging.WARNING):
        frames = list(frames_of(clip, np.arange(120, 140)))
    assert len(frames) == 20 and all(np.array_equal(frame, frames[4]) for frame in frames[4:])
    assert [record.getMessage() for record in caplog.records] == ["video is damaged: 15 frames are missing at its end"]
    with pytest.raises(ValueError, match="frames 0 to 140"):
        list(frames_of(clip, np.array([0, 140])))


@pytest.mark.parametrize(
    ("start", "stop", "words"),
    [
        (5, None, r"from is 5 s, but the video has pictures up to 5\.00 s; choose less"),
        (0, 7.5, r"to is 7\.5 s, but the video has pictures up to 5\.00 s; choose less"),
        (2, 2, "from is 2 s and to is 2 s; the second must be later"),
        (-1, None, "from is -1; allowed are seconds inside the video, 0 to 43200"),
        (0, float("nan"), "to is nan; allowed are seconds inside the video, 0 to 43200"),
    ],
)
def test_places_that_are_not_in_the_video(long, start, stop, words):
    with pytest.raises(InputError, match=f"^{words}$"):
        open_clip(long, start, stop)


def test_a_video_that_is_too_long(long, monkeypatch):
    monkeypatch.setattr(clips, "MAX_SECONDS", 3)
    with pytest.raises(InputError, match=r"^video is longer than .*; cut it into shorter files$"):
        open_clip(long)


def test_no_pictures(clicks):
    with pytest.raises(InputError, match=r"^video has no pictures: .*; give a video$"):
        open_clip(clicks)


BARS = np.repeat(np.repeat(np.array([[[200, 60, 50], [60, 170, 80], [50, 80, 190]]], np.uint8), 64, 0), 32, 1)
YUV = "scale=flags=accurate_rnd+full_chroma_int:out_color_matrix={matrix}:out_range={span},format={pixels}"
HLG = (
    "format=gbrp,zscale=tin=iec61966-2-1:pin=bt709:min=gbr:rin=full:t=arib-std-b67:p=bt2020:m=bt2020nc:r=limited:"
    "npl=203,format=yuv420p10le"
)
X265 = ("-c:v", "libx265", "-x265-params", "log-level=none:crf=5")
BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
COLOURS = {
    "BT.601": (YUV.format(matrix="bt601", span="tv", pixels="yuv420p"), (*FAST, "-colorspace", "smpte170m")),
    "full range": (YUV.format(matrix="bt709", span="pc", pixels="yuvj420p"), (*FAST, *BT709)),
    "HEVC of 10 bits": (YUV.format(matrix="bt709", span="tv", pixels="yuv420p10le"), (*X265, *BT709)),
    "HLG": (HLG, (*X265, "-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "arib-std-b67")),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", COLOURS)
def test_colours(tmp_path, caplog, case):
    """Of every frame, also of one that a seek reaches; HDR is told once."""
    filters, flags = COLOURS[case]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "96x64", "-r", "50", "-i", "pipe:0", "-vf", filters]
    command = [ffmpeg(), "-v", "error", "-y", *raw, *flags, str(tmp_path / "x.mp4")]
    subprocess.run(command, input=BARS.tobytes() * 60, check=True)
    with caplog.at_level(logging.WARNING):
        clip = open_clip(tmp_path / "x.mp4")
        frames = list(frames_of(clip, np.array([0, 1, 0, 59])))
    for frame in frames:
        np.testing.assert_allclose(frame[32, 16::32].astype(int), BARS[32, 16::32].astype(int), atol=4)
    told = [record.getMessage() for record in caplog.records]
    assert told == (["video is HDR (HLG): its colours are tone-mapped to sRGB"] if case == "HLG" else [])
