"""Change the sound of a file piece by piece: ffmpeg decodes it, a function changes it, ffmpeg writes it as FLAC."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from anitalker.config import InputError
from anitalker.media.video import PIECE_SAMPLES, PIPE, input_arguments, last_line, sound_arguments, start_ffmpeg

RATE = 48_000  # samples per second: those of the videos that are written

SoundFilter = Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]  # float32 [N,C] in pieces


def filter_sound(path: str | os.PathLike, output: Path, apply_filter: SoundFilter) -> None:
    """Write the default sound of a file, changed by a filter, as a FLAC file of RATE samples per second.

    It keeps its loudness; mono and stereo stay as they are, more channels become stereo, as in videos. Memory does not
    grow with the length. InputError where the file has no sound that can be decoded.
    """
    taken = sound_arguments(path, 0)
    channels = int(taken[-1])
    raw = ["-c:a", "pcm_f32le", "-f", "f32le"]
    shape = ["-ar", str(RATE), "-ac", str(channels)]
    with tempfile.TemporaryFile() as errors:
        decoder = start_ffmpeg(
            [*input_arguments(Path(path)), *taken, "-ar", str(RATE), *raw, "pipe:1"], stdout=PIPE, stderr=errors
        )
        encoder = start_ffmpeg(
            ["-y", "-f", "f32le", *shape, "-i", "pipe:0", f"file:{output}"], stdin=PIPE, stderr=errors
        )
        assert decoder.stdout is not None and encoder.stdin is not None
        try:
            for piece in apply_filter(_pieces(decoder.stdout, channels)):
                encoder.stdin.write(np.ascontiguousarray(piece, "<f4").data)
        except BaseException as error:
            encoder.kill()
            if not isinstance(error, BrokenPipeError):  # the encoder has ended; its message is read next
                raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                encoder.stdin.close()
            decoder.stdout.close()
            statuses = [process.wait() for process in (decoder, encoder)]
        if any(statuses):
            errors.seek(0)
            raise InputError(f"speech cannot be read: {str(path)!r} ({last_line(errors.read())}); give e.g. WAV or MP3")


def _pieces(stream: IO[bytes], channels: int) -> Iterator[np.ndarray]:
    while data := stream.read(PIECE_SAMPLES * 4 * channels):
        count = len(data) // (4 * channels)
        yield np.frombuffer(data, "<f4", count * channels).reshape(count, channels)
