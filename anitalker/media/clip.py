"""A video read at its own frame rate, frame by frame in any order: what `dub` draws on.

Time is cut into frames by a grid that begins at the file's time zero, as the sound does: frame n is what is seen at
n / fps. A seek decides only where reading begins, never on the grid, so a frame is the same however it is reached.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from anitalker.config import ORIGINAL_SIZE, InputError, check_size
from anitalker.files import existing_file
from anitalker.media.frames import frame_filters, has_planes
from anitalker.media.streams import Media
from anitalker.media.video import DECODING_LIMIT, decode_frames, input_arguments, probe_pictures, run_ffmpeg
from anitalker.media.yuv import FilmedFrame, yuv420_to_rgb

MAX_FPS = 120  # slow motion has more; it is read at a whole part of its rate
MAX_TOLD_FPS = 960  # a larger mean rate in a header is that of the clock
MAX_NOMINAL_FPS = 61  # of a variable rate: a larger nominal rate is that of the clock, not of the pictures
MAX_NOMINAL_RATIO = 1.6  # nominal rate over the mean one; twice as many are fields, or a wrong header
RATE_TOLERANCE = 0.001  # by which ffmpeg's two decimals may miss a usual rate
NTSC = Fraction(1000, 1001)
USUAL_RATES = tuple(Fraction(rate) for rate in (5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120))
NTSC_RATES = tuple(rate * NTSC for rate in USUAL_RATES if rate % 12 == 0 or rate % 30 == 0)
RATE_PACKETS = 500  # from which the mean rate is computed where the header does not tell it
MAX_SECONDS = 12 * 3600  # of a video
TAIL_SECONDS = (1.0, 10.0, 60.0, 600.0)  # before the end, where the last frame is looked for
SEEK_SECONDS = (0.5, 5.0, 30.0)  # before a frame, where reading begins: a seek may miss by some frames
CHUNK_BYTES = 2**27  # of frames that are read at once to play backwards
MISSING_SECONDS = 0.2  # of frames at the end that are repeated without a word


@dataclass(frozen=True)
class Clip:
    """A stretch of a video, at a constant frame rate.

    fps: frames per second; start: seconds of its first frame in the file, a whole number of frames; frames: their
    number; width, height: of its frames, upright and in square pixels.
    """

    path: Path
    media: Media
    fps: Fraction
    start: float
    frames: int
    width: int
    height: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return float(self.frames / self.fps)

    @property
    def first(self) -> int:
        """Number of its first frame in the file."""
        return round(self.start * self.fps)


def open_clip(
    path: str | os.PathLike,
    start: float = 0.0,
    stop: float | None = None,
    size: int | str = ORIGINAL_SIZE,
    what: str = "video",
) -> Clip:
    """Look at a video from `start` to `stop` [s] (None: its end), and at how many frames it has there.

    size: the shorter side in pixels at most, never enlarged, both sides even; or `original`. A variable rate is read
    by its time stamps into the nominal one. Frames are counted by decoding the last second, as containers lie; that
    takes as long as a group of pictures. InputError where it has no pictures or `start` and `stop` are not inside.
    """
    file, size = existing_file(path, what), check_size(size)
    for name, value in (("from", start), ("to", stop)):
        if value is not None and not 0 <= value <= MAX_SECONDS:  # also refuses NaN
            raise InputError(f"{name} is {value:g}; allowed are seconds inside the {what}, 0 to {MAX_SECONDS}")
    if stop is not None and stop <= start:
        raise InputError(f"from is {start:g} s and to is {stop:g} s; the second must be later")
    media = probe_pictures(file, what)
    seconds = media.seconds or _length(file, media)
    if seconds is not None and seconds > MAX_SECONDS:
        raise InputError(f"{what} is longer than {MAX_SECONDS // 3600} hours: {str(file)!r}; cut it into shorter files")
    told = media.fps if media.fps and media.fps <= MAX_TOLD_FPS else None
    fps = frame_rate(told or _mean_rate(file, media), media.nominal_fps)
    wanted = None if stop is None else max(1, round(stop * fps))
    end = _end(file, media, fps, wanted, seconds)
    first = round(start * fps)
    if first >= end:
        raise InputError(
            f"from is {start:g} s, but the {what} has pictures up to {float(end / fps):.2f} s; choose less"
        )
    if wanted is not None and wanted > end + 1:
        raise InputError(f"to is {stop:g} s, but the {what} has pictures up to {float(end / fps):.2f} s; choose less")
    with contextlib.closing(_read(Clip(file, media, fps, float(first / fps), 1, 0, 0), 0, 1, what)) as frames:
        height, width = next(frames).shape[:2]
    width, height = _reduced(width, height, size)
    return Clip(file, media, fps, float(first / fps), max(1, end - first), width, height)


def frames_of(clip: Clip, indices: np.ndarray, what: str = "video") -> Generator[np.ndarray, None, None]:
    """Yield frames of a clip, uint8 [height,width,3] sRGB, in the order of `indices`, whole numbers [T] from 0 on.

    Each index is the last one, one before it, or any that follows. Forwards frames stream from one ffmpeg; backwards
    they come in chunks of CHUNK_BYTES, so memory is constant. Exactly as many frames come as there are indices: where a
    damaged video has fewer, its last one is repeated, with a warning.
    """
    yield from _ordered(clip, indices, what, False)


def filmed_frames(clip: Clip, indices: np.ndarray, what: str = "video") -> Generator[FilmedFrame, None, None]:
    """Yield frames as `frames_of` does, with the luma and chroma that they were filmed with.

    A video in 4:2:0 of 8 bits and with even sides has them; converted once if they are not BT.709 in limited range.
    """
    if clip.width % 2 or clip.height % 2 or not has_planes(clip.media):
        for frame in frames_of(clip, indices, what):
            yield FilmedFrame(frame)
        return
    for planes in _ordered(clip, indices, what, True):
        yield FilmedFrame(yuv420_to_rgb(planes), planes)


def _ordered(clip: Clip, indices: np.ndarray, what: str, planes: bool) -> Generator[np.ndarray, None, None]:
    """Yield frames, or their planes, in the order of indices; see `frames_of`."""
    if len(indices) and not 0 <= min(indices) <= max(indices) < clip.frames:
        raise ValueError(f"frames {min(indices)} to {max(indices)} of a clip with {clip.frames}")
    chunk = max(1, CHUNK_BYTES // (clip.width * clip.height * 3))
    for run in _runs(np.asarray(indices, np.int64)):
        if run[-1] >= run[0]:
            yield from _forwards(clip, run, what, planes)
            continue
        for piece in np.split(run, range(chunk, len(run), chunk)):
            yield from list(_forwards(clip, piece[::-1], what, planes))[::-1]


def frame_rate(mean: float | None, nominal: float | None) -> Fraction:
    """Return the constant rate at which a video is read.

    mean: its frames per second; nominal: ffmpeg's guess from the time stamps (`tbr`). They agree in a video of constant
    rate; else the nominal one is taken if it can be a rate of pictures, or the usual rate that is nearest to the mean.
    """
    mean = mean or nominal or 25.0
    nominal = nominal or mean
    if abs(nominal / mean - 1) <= 0.005:
        rate = _snapped(nominal)
        return rate / math.ceil(rate / MAX_FPS)
    if nominal <= MAX_NOMINAL_FPS and 1 <= nominal / mean <= MAX_NOMINAL_RATIO:
        return _snapped(nominal)
    if _snapped(mean) in NTSC_RATES:
        return _snapped(mean)
    return min(USUAL_RATES, key=lambda rate: abs(math.log(rate / mean)))


def _snapped(rate: float) -> Fraction:
    """Return the exact rate of one with two decimals: a whole number, or that times 1000 / 1001, where it is near."""
    whole = [Fraction(max(1, round(rate))), Fraction(max(1, round(rate / NTSC))) * NTSC]
    nearest = min(whole, key=lambda exact: abs(exact - rate))
    return nearest if abs(nearest / Fraction(rate) - 1) <= RATE_TOLERANCE else Fraction(rate).limit_denominator(100)


def _reduced(width: int, height: int, size: int | str) -> tuple[int, int]:
    """Return the size of frames: even sides, the shorter of them at most `size`; or as they are."""
    if size == ORIGINAL_SIZE or min(width, height) <= int(size):
        return width, height
    factor = int(size) / min(width, height)
    return 2 * round(width * factor / 2), 2 * round(height * factor / 2)


def _runs(indices: np.ndarray) -> list[np.ndarray]:
    """Split indices where their direction turns."""
    steps = np.sign(np.diff(indices))
    cuts, direction = [], 0
    for place, step in enumerate(steps, 1):
        if step and direction and step != direction:
            cuts.append(place)
            step = 0  # the new run has no direction yet
        direction = step or (0 if cuts and cuts[-1] == place else direction)
    return [run for run in np.split(indices, cuts) if len(run)]


def _forwards(clip: Clip, run: np.ndarray, what: str, planes: bool) -> Iterator[np.ndarray]:
    """Yield the frames, or their planes, of indices that never go back."""
    place, frame, missing = int(run[0]) - 1, None, 0
    with contextlib.closing(_read(clip, int(run[0]), int(run[-1]) + 1, what, planes)) as frames:
        for index in run:
            while place < index:
                following = next(frames, None)
                missing += following is None
                frame = frame if following is None else following
                place += 1
            assert frame is not None  # `decode_frames` raises where there is none
            yield frame
    if missing > MISSING_SECONDS * clip.fps:
        logging.getLogger(__name__).warning("%s is damaged: %d frames are missing at its end", what, missing)


def _read(clip: Clip, start: int, stop: int, what: str, planes: bool = False) -> Generator[np.ndarray, None, None]:
    """Yield the frames, or their planes, from number `start` of a clip up to, not including, `stop`."""
    first = clip.first + start
    seek = _seek(clip, first)
    begin = "" if seek else ":start_time=0"  # pictures that begin after time zero: the first one is held
    rate = f"fps={clip.fps}{begin},trim=start_pts={first}:end_pts={clip.first + stop}"
    size = (clip.width, clip.height) if clip.width else None
    filters = frame_filters(clip.media, rate, size, planes)
    yield from decode_frames(clip.path, clip.media, filters, what, seek, size if planes else None)


def _seek(clip: Clip, number: int) -> tuple[str, ...]:
    """Return the options with which ffmpeg begins to read shortly before a frame of the file, but not after it.

    Seeks miss in some formats. So the place where a seek lands is looked at, and an earlier one is tried.
    """
    for seconds in SEEK_SECONDS:
        options = _seek_options(float(number / clip.fps) - seconds)
        if not options:
            return ()
        numbers = _frame_numbers(clip.path, clip.media, clip.fps, f"fps={clip.fps}", options, ("-frames:v", "1"))
        if numbers and numbers[0] <= number:
            return options
    return ()


def _seek_options(seconds: float) -> tuple[str, ...]:
    """Return the options that seek to the last key frame before a time, with times as they are in the file."""
    if seconds <= 0:
        return ()
    return ("-copyts", "-start_at_zero", "-noaccurate_seek", "-ss", f"{seconds:.6f}")


def _end(file: Path, media: Media, fps: Fraction, wanted: int | None, seconds: float | None) -> int:
    """Return the number of frames from the file's time zero to its end, or to frame `wanted` if it comes sooner."""
    last = None if wanted is None else float(wanted / fps)
    before = seconds if last is None or (seconds is not None and seconds < last) else last
    cut = "" if wanted is None else f",trim=end_pts={wanted}"
    places = [] if before is None else [_seek_options(before - tail) for tail in TAIL_SECONDS]
    for options in dict.fromkeys([*places, ()]):
        begin = "" if options else ":start_time=0"
        if numbers := _frame_numbers(file, media, fps, f"fps={fps}{begin}{cut}", options):
            return numbers[-1] + 1
    return 1  # reading the first frame tells why there is none


def _length(file: Path, media: Media) -> float | None:
    """Return the seconds of a video whose header does not tell them, by the time stamps of all of its packets."""
    stamps = _time_stamps((*input_arguments(file), "-map", f"0:{media.video_index}", "-c", "copy"))
    return float(max(stamps)) if stamps else None


def _mean_rate(file: Path, media: Media) -> float | None:
    """Return the frames per second of a video whose header does not tell them, by its first packets."""
    packets = ("-map", f"0:{media.video_index}", "-c", "copy", "-frames:v", str(RATE_PACKETS))
    stamps = _time_stamps((*input_arguments(file), *packets))
    span = float(max(stamps) - min(stamps)) if stamps else 0.0
    return (len(stamps) - 1) / span if span else None


def _frame_numbers(
    file: Path, media: Media, fps: Fraction, filters: str, seek: tuple[str, ...], output: tuple[str, ...] = ()
) -> list[int]:
    """Return the numbers of the frames that come out of filters."""
    small = f"{filters},scale=16:16:flags=neighbor"
    stream = ("-map", f"0:{media.video_index}", "-vf", small, "-fps_mode", "passthrough", *output)
    stamps = _time_stamps((*seek, *input_arguments(file), *stream, "-c:v", "rawvideo"))
    return [round(stamp * fps) for stamp in stamps]


def _time_stamps(arguments: tuple[str, ...]) -> list[Fraction]:
    """Return the presentation times [s] of what ffmpeg puts out with these arguments."""
    lines = run_ffmpeg((*DECODING_LIMIT, *arguments, "-f", "framecrc", "pipe:1"))[1].splitlines()
    unit = next((Fraction(line.split(": ")[1]) for line in lines if line.startswith("#tb 0: ")), Fraction(1))
    return [int(line.split(",")[2]) * unit for line in lines if line[:1].isdigit() and line.count(",") > 3]
