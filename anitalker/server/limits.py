"""What a visitor may send: checked before work starts. Each refusal is one line that says what is allowed."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from anitalker.config import FPS, InputError

MB = 1_000_000
BATCH_LENGTHS = 5  # of a single recording, which several recordings may have in all
MAX_UNTIMED_BYTES = 4 * MB  # a recording without a stated length: small enough to decode and count


@dataclass(frozen=True)
class Limits:
    """What visitors of one server may do. The options of `python -m app` set the first four and the last."""

    upload_bytes: int = 100 * MB  # of one upload
    media_seconds: float = 120  # of a recording or driving video
    waiting_jobs: int = 8  # behind the running one
    keep_seconds: float = 3600  # from a visitor's last request until the visitor's files are deleted
    megapixels: float = 50  # of a picture
    text_characters: int = 2000
    results: int = 24  # videos kept per visitor
    batch_recordings: int = 12  # at once: fewer than `results`, so that none displaces another
    people: int = 6  # avatars kept per visitor
    tune_minutes: float = 3  # of training that an avatar may take
    request_bytes: int = 200_000  # of a request that is not an upload
    allow_no_marks: bool = False  # visitors may leave out credentials and watermark

    @property
    def batch_seconds(self) -> float:
        """Length of several recordings at once, in all."""
        return BATCH_LENGTHS * self.media_seconds


def add_no_marks_option(parser: argparse.ArgumentParser) -> None:
    """Add --allow-no-marks, which the page and the server have."""
    parser.add_argument(
        "--allow-no-marks",
        action="store_true",
        help="visitors may leave out credentials and watermark; the metadata says so. The law may ask for them",
    )


def check_marks(wanted: bool, limits: Limits) -> None:
    """Raise InputError where a visitor wants a video without marks, and the operator does not allow it."""
    if not wanted and not limits.allow_no_marks:
        raise InputError("marks cannot be left out here: whoever runs this server does not allow it; leave them in")


def check_picture(path: str | os.PathLike, limits: Limits) -> Path:
    """Return the file if its header announces a small enough picture; pixels are not read. Raises InputError."""
    from PIL import Image, UnidentifiedImageError

    from anitalker.files import existing_file

    file = existing_file(path, "portrait")
    try:
        with Image.open(file) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return file  # HEIC, a video or an unreadable file: the pipeline reports it
    except Image.DecompressionBombError:
        raise InputError(f"the picture is too large; allowed are {limits.megapixels:.0f} megapixels") from None
    if width * height > limits.megapixels * 1e6:
        raise InputError(
            f"the picture has {width}x{height} pixels; allowed are {limits.megapixels:.0f} megapixels; make it smaller"
        )
    return file


def check_media(
    path: str | os.PathLike, limits: Limits, what: str = "recording", sound: bool = False, pictures: bool = False
) -> Path:
    """Return the file if it has the streams that are asked for and is not too long. Raises InputError.

    what: names the file in messages.
    """
    from anitalker.media.video import probe

    media = probe(path, what)
    if sound and media.audio_codec is None:
        raise InputError(f"the {what} has no sound; give a recording or a video with sound")
    if pictures and media.video_codec is None:
        raise InputError(f"the {what} has no pictures; give a video that shows a face")
    if media.seconds is None and Path(path).stat().st_size > MAX_UNTIMED_BYTES:
        raise InputError(f"the {what} does not say how long it is; save it as WAV, MP3 or MP4")
    check_seconds(media.seconds or 0, what, limits)
    return Path(path)


def check_suspect(path: Path, limits: Limits) -> Path:
    """Return a file to verify if it is no picture of too many pixels and no video of too many seconds.

    Raises InputError.
    """
    from anitalker.media.video import probe

    check_picture(path, limits)
    seconds = 0.0
    with contextlib.suppress(InputError):  # a picture, or neither, which `verify` tells
        seconds = probe(path, "file").seconds or 0
    check_seconds(seconds, "file", limits)
    return path


def check_seconds(seconds: float, what: str, limits: Limits) -> None:
    """Raise InputError if a recording or video is too long; one frame more is tolerated."""
    if seconds > limits.media_seconds + 1 / FPS:
        raise InputError(
            f"the {what} is {seconds:.0f} s long; allowed are {limits.media_seconds:.0f} s; "
            "cut it, or use the command line"
        )


def check_idle(seconds: object, limits: Limits) -> float:
    """Return the length of a video without speech, in seconds. Raises InputError for no number or one out of range."""
    from anitalker.motion.idle import check_length

    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InputError(f"seconds is {str(seconds)[:20]!r}; give a number")
    check_seconds(seconds, "video", limits)
    check_length(seconds)
    return float(seconds)


def check_text(text: object, limits: Limits) -> str:
    """Return the text if it is not empty and not too long. Raises InputError."""
    if not isinstance(text, str) or not text.strip():
        raise InputError("there is no text; write what the portrait should say")
    if len(text) > limits.text_characters:
        raise InputError(
            f"the text has {len(text):,} characters; allowed are {limits.text_characters:,}; make it shorter"
        )
    return text
