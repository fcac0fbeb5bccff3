"""Writes frames and sound as a fragmented MP4, which can be played while it is written, or as raw frames."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from anitalker.config import FPS, SAMPLE_RATE, InputError
from anitalker.media.encoder import TAGS
from anitalker.media.video import PIPE, SYNTHETIC_COMMENT, start_ffmpeg
from anitalker.media.yuv import rgb_to_yuv420

NO_PROBING = ["-probesize", "32", "-analyzeduration", "0"]  # the format of raw frames and samples is known
# The muxer waits for one packet of each stream, then writes fragments without delay.
FRAGMENT_FLAGS = ["-movflags", "+empty_moov+default_base_moof+delay_moov+use_metadata_tags", "-flush_packets", "1"]
VIDEO_FLAGS = ["-vf", TAGS, "-c:v", "libx264"]
VIDEO_FLAGS += ["-tune", "zerolatency", "-crf", "20", "-g", str(2 * FPS), "-threads", "1"]


class FragmentWriter:
    """Context manager that writes frames and their sound as a fragmented MP4 (H.264, AAC).

    output: a binary file with a descriptor, such as standard output; width and height in pixels, odd sizes are padded
    by one; preset: of x264; fragment_seconds: length of a fragment, by default one frame; tags: metadata by key.
    `write` blocks while the reader of the output is slow, which is the back-pressure. InputError on Windows.
    """

    def __init__(
        self,
        output: BinaryIO,
        width: int,
        height: int,
        preset: str = "veryfast",
        fragment_seconds: float = 0.03,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if os.name != "posix":
            raise InputError("fragmented MP4 needs Linux or macOS; take --format raw")
        self.width, self.height = width, height
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        read_end, self._sound = os.pipe()
        size = f"{width + width % 2}x{height + height % 2}"
        command = [*NO_PROBING, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", str(FPS), "-i", "pipe:0"]
        command += [*NO_PROBING, "-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", f"pipe:{read_end}"]
        command += ["-map", "0:v", "-map", "1:a", *VIDEO_FLAGS, "-preset", preset]
        command += ["-c:a", "aac", "-b:a", "96k", "-ar", "48000"]
        for key, value in {"comment": SYNTHETIC_COMMENT, **tags}.items():
            command += ["-metadata", f"{key}={value}"]
        command += FRAGMENT_FLAGS
        command += ["-frag_duration", str(round(fragment_seconds * 1e6)), "-f", "mp4", "pipe:1"]
        pipes = {"stdin": PIPE, "stdout": output, "stderr": self._errors}
        self._process = start_ffmpeg(command, **pipes, pass_fds=(read_end,))
        assert self._process.stdin is not None
        self._frames = self._process.stdin
        os.close(read_end)

    def __enter__(self) -> FragmentWriter:
        return self

    def write(self, frame: np.ndarray, sound: np.ndarray) -> None:
        """Write a frame, uint8 [H,W,3], and its sound, float32 [640] in -1..1; RuntimeError if ffmpeg has failed."""
        assert frame.shape == (self.height, self.width, 3), frame.shape
        if self.height % 2 or self.width % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        try:
            os.write(self._sound, pcm(sound))
            self._frames.write(rgb_to_yuv420(frame).data)
            self._frames.flush()
        except BrokenPipeError:
            raise RuntimeError(f"ffmpeg stopped: {self._reason()}") from None

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is not None:
                self._process.kill()
            os.close(self._sound)
            with contextlib.suppress(BrokenPipeError):  # ffmpeg has ended; its exit status is checked below
                self._frames.close()
            if self._process.wait() != 0 and kind is None:
                raise RuntimeError(f"ffmpeg could not finish the stream: {self._reason()}")
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._errors.close()

    def _reason(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else "no reason given"


class FrameWriter:
    """Context manager that writes frames as raw RGB bytes, without sound, to a binary file."""

    def __init__(self, output: BinaryIO) -> None:
        self.output = output

    def __enter__(self) -> FrameWriter:
        return self

    def write(self, frame: np.ndarray, sound: np.ndarray) -> None:
        """Write a frame, uint8 [H,W,3]; its sound is not written."""
        self.output.write(np.ascontiguousarray(frame).data)
        self.output.flush()

    def __exit__(self, *_: object) -> None:
        pass


def pcm(sound: np.ndarray) -> bytes:
    """Sound float32 in -1..1 -> 16-bit little-endian PCM; values outside are clipped."""
    return (sound.clip(-1, 1) * 32767).astype("<i2").tobytes()
