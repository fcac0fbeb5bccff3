"""What a visitor may send: checked before work starts, each refusal in one line that says what is allowed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from anitalker.config import FPS, InputError
from anitalker.files import existing_file
from anitalker.media.video import probe

MB = 1_000_000
UNMEASURED = 4 * MB  # recordings that do not say how long they are: small enough to be decoded and counted


@dataclass(frozen=True)
class Limits:
    """The limits of one server; the flags of `python -m app` set the first four."""

    upload: int = 100 * MB  # bytes of one upload
    seconds: float = 120  # of speech or driving video
    waiting: int = 8  # jobs that wait behind the one at work
    keep: float = 3600  # seconds after a visitor's last request until the visitor's files are deleted
    megapixels: float = 50  # of a picture
    letters: int = 2000  # of a text
    results: int = 12  # videos kept per visitor
    request: int = 200_000  # bytes of a request that is no upload


def check_picture(path: str | os.PathLike, limits: Limits) -> Path:
    """The file if its header promises a picture that is small enough; its pixels are not read."""
    from PIL import Image, UnidentifiedImageError

    file = existing_file(path, "portrait")
    try:
        with Image.open(file) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return file  # HEIC, a video, or nothing that can be read: the pipeline says it
    except Image.DecompressionBombError:
        raise InputError(f"the picture is too large; allowed are {limits.megapixels:.0f} megapixels") from None
    if width * height > limits.megapixels * 1e6:
        raise InputError(
            f"the picture has {width}x{height} pixels; allowed are {limits.megapixels:.0f} megapixels; make it smaller"
        )
    return file


def check_media(path: str | os.PathLike, limits: Limits, sound: bool = False, pictures: bool = False) -> Path:
    """The file if it has what is asked for and is not too long."""
    what = "driving video" if pictures else "recording"
    media = probe(path, what)
    if sound and media.audio_codec is None:
        raise InputError(f"the {what} has no sound; give a recording or a video with sound")
    if pictures and media.video_codec is None:
        raise InputError(f"the {what} has no pictures; give a video that shows a face")
    if media.seconds is None and Path(path).stat().st_size > UNMEASURED:
        raise InputError(f"the {what} does not say how long it is; save it as WAV, MP3 or MP4")
    check_seconds(media.seconds or 0, what, limits)
    return Path(path)


def check_seconds(seconds: float, what: str, limits: Limits) -> None:
    """InputError when a recording is too long."""
    if seconds > limits.seconds + 1 / FPS:
        raise InputError(
            f"the {what} is {seconds:.0f} s long; allowed are {limits.seconds:.0f} s; cut it, or use the command line"
        )


def check_text(text: object, limits: Limits) -> str:
    """The text if there is something to say and it is not too long."""
    if not isinstance(text, str) or not text.strip():
        raise InputError("there is no text; write what the portrait shall say")
    if len(text) > limits.letters:
        raise InputError(f"the text has {len(text):,} characters; allowed are {limits.letters:,}; cut it")
    return text
