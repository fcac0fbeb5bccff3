"""The files that videos can be written to, by the suffix of their name: what they hold, and how long they may be.

GIF, WebP and sequences of PNG have no sound. A GIF has 256 colours, which are chosen for the whole video: it is made of
an intermediate file. Its pattern of dots is ordered, so that it rests where the picture rests.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from anitalker.config import InputError, RenderOptions
from anitalker.files import check_output, check_output_is_no_input
from anitalker.media import encoder
from anitalker.media.backdrop import check_background
from anitalker.media.subtitles import read_subtitles

MAX_PIXELS = 2**28  # of all frames of a GIF or WebP: 9 seconds of 1080x1080, 41 of 512x512
SEQUENCE = re.compile(r"[^%]*%0?\d?d[^%]*\.png", re.IGNORECASE)  # name of the files of a sequence
# At 48 kHz the delay of the encoder of AAC is 21 ms: small even for players that ignore the edit list.
AAC = ("-c:a", "aac", "-b:a", "160k", "-ar", "48000")
OPUS = ("-c:a", "libopus", "-b:a", "128k", "-ar", "48000")
TO_GIF = ("palettegen=stats_mode=full", "paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle")  # keeps alpha


@dataclass(frozen=True)
class Format:
    """What a video is written as.

    name: for people; muxer: of ffmpeg; sound: arguments of ffmpeg for it, none: it is left out; is_yuv: whether its
    frames are the planes of `yuv`, else RGB; is_signed: whether it can carry content credentials.
    """

    name: str
    muxer: str
    sound: tuple[str, ...] = ()
    is_yuv: bool = False
    is_signed: bool = True

    @property
    def is_picture(self) -> bool:
        """Whether it is made of pictures, whose metadata is that of pictures."""
        return not self.is_yuv

    def video_arguments(
        self, device: str, codec: str, quality: int, run_ffmpeg: encoder.RunFfmpeg, alpha: bool = False
    ) -> tuple[str, ...]:
        """Return the arguments of ffmpeg that encode frames, with alpha or without; as for
        `encoder.encoder_arguments`."""
        if alpha and self.name == "MOV":
            return encoder.prores_arguments(quality)
        if alpha and self.name == "WebM":
            return (*encoder.vp9_arguments(quality), *encoder.VP9_ALPHA)
        if alpha and self.name == "GIF":
            return encoder.GIF_ALPHA
        if self.name in ("MP4", "MOV"):
            return encoder.encoder_arguments(device, run_ffmpeg, codec, quality)
        if self.name == "WebM":
            return encoder.vp9_arguments(quality)
        return encoder.webp_arguments(quality) if self.name == "WebP" else encoder.LOSSLESS[self.name]

    def codec_of(self, codec: str, alpha: bool = False) -> str:
        """Return the codec of its frames where h264 or hevc is wanted; InputError for HEVC where it has another one,
        and for frames with alpha where it has none for them."""
        if alpha and self.name == "MP4":
            raise InputError(
                "background is transparent, but MP4 has no transparency; write a .webm, .mov, .png or .webp"
            )
        if self.name in ("MP4", "MOV") and not alpha:
            return codec
        own = {"WebM": "vp9", "MOV": "prores"}.get(self.name, self.name.lower())
        if codec == "hevc":
            what = f"transparent {self.name}" if alpha else self.name
            raise InputError(f"codec is hevc, but {what} has its own; leave --codec out, or write an .mp4 or .mov")
        return own


FORMATS = {
    ".mp4": Format("MP4", "mp4", AAC, is_yuv=True),
    ".mov": Format("MOV", "mov", AAC, is_yuv=True),
    ".webm": Format("WebM", "webm", OPUS, is_yuv=True, is_signed=False),
    ".gif": Format("GIF", "gif"),
    ".webp": Format("WebP", "webp"),
    ".png": Format("PNG", "image2"),
}
SINGLE_FILES = tuple(suffix.lstrip(".") for suffix in FORMATS if suffix != ".png")  # what tables and pages offer


def check_video_output(
    path: str | os.PathLike, *inputs: object, options: RenderOptions = RenderOptions()
) -> tuple[Path, Format]:
    """Return the path of a video that shall be written, and its format; InputError where none can be made there.

    inputs: files that it must not replace; what is no path is passed over. options: must fit the format.

    Of a sequence of PNG the path is a pattern, such as folder/frame-%04d.png, in a folder without other such files.
    """
    file = check_output(path, tuple(FORMATS))
    form = FORMATS[file.suffix.lower()]
    if form.name == "PNG" and not SEQUENCE.fullmatch(file.name):
        raise InputError(f"output is {str(file)!r}; a sequence of PNG needs a number in its name, e.g. frame-%04d.png")
    if form.name == "PNG" and (frames := sequence_files(file)):
        raise InputError(f"output has frames of another video: {str(frames[0])!r}; delete them, or take another folder")
    check_output_is_no_input(file, options.subtitles, options.background, *inputs)
    check_options(form, options)
    return file, form


def check_options(form: Format, options: RenderOptions) -> None:
    """Raise InputError where a format has no place for what the options ask for, or the subtitles cannot be read."""
    form.codec_of(options.codec, check_background(options.background).kind == "transparent")
    if options.subtitles is not None:
        read_subtitles(options.subtitles)
    if options.subtitles is not None and options.subtitles_as == "track" and not form.sound:
        raise InputError(f"{form.name} has no tracks, but the subtitles shall be one; take --subtitles-as burnt")


def sequence_files(pattern: Path) -> list[Path]:
    """Return the files of a sequence, such as folder/frame-%04d.png, in order."""
    start, end = re.split(r"%0?\d?d", pattern.name)
    name = re.compile(f"{re.escape(start)}([0-9]+){re.escape(end)}")
    numbered = [(int(found[1]), file) for file in pattern.parent.iterdir() if (found := name.fullmatch(file.name))]
    return [file for _, file in sorted(numbered)]


def check_length(form: Format, frames: int, width: int, height: int, fps: Fraction | int) -> None:
    """Raise InputError where a GIF or WebP would become too large."""
    if form.name in ("GIF", "WebP") and frames * width * height > MAX_PIXELS:
        seconds, most = float(frames / fps), float(MAX_PIXELS / (width * height) / fps)
        side = int((MAX_PIXELS / (frames * width * height)) ** 0.5 * min(width, height))
        raise InputError(
            f"{form.name} is for short videos: {seconds:.1f} s of {width}x{height} came, allowed are {most:.1f} s; "
            f"give --size {side} or less, a shorter speech, or write an .mp4"
        )
