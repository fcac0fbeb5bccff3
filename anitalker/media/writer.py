"""Write frames and speech to a video file, or a sequence of pictures, that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import numpy as np

from anitalker.config import FPS, InputError, RenderOptions
from anitalker.files import MIN_FREE_BYTES
from anitalker.media import encoder, formats
from anitalker.media.clip import Clip
from anitalker.media.kept_tracks import kept_arguments
from anitalker.media.parts import Parts
from anitalker.media.subtitles import TRACK_CODECS, Subtitles
from anitalker.media.video import (
    PIPE,
    SYNTHETIC_COMMENT,
    input_arguments,
    last_line,
    run_ffmpeg,
    sound_arguments,
    start_ffmpeg,
)
from anitalker.media.yuv import FilmedFrame, keep_filmed, rgb_to_yuv420


class VideoWriter:
    """Context manager that writes frames, uint8 [H,W,3], and the speech, exactly aligned, to a file of `formats`.

    The file appears under its name when everything is written, or not at all. Odd heights and widths of videos are
    padded by one pixel. filters: applied to every frame, in this order; finish(written, target, title): makes the final
    file of the written one (each file of a sequence), None: the written file is final; device, codec, quality: see
    `encoder.encoder_arguments`; fps: frames per second; keep: a clip whose other audio tracks, subtitles and chapters
    are kept in an MP4, see `kept_tracks`. Where the output is shorter than the clip, give the clip with as many frames.
    subtitles: are drawn onto the filtered frames, or become a track; tags: metadata of a video, by key; alpha: frames
    are uint8 [H,W,4], with straight alpha, which the file keeps.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        width: int,
        height: int,
        speech_path: str | os.PathLike | None = None,
        filters: Sequence[Callable[[np.ndarray], np.ndarray]] = (),
        finish: Callable[[Path, Path, str], None] | None = None,
        device: str = "cpu",
        *,
        fps: Fraction | int = FPS,
        codec: str = RenderOptions.codec,
        quality: int = RenderOptions.quality,
        keep: Clip | None = None,
        subtitles: Subtitles | None = None,
        tags: Mapping[str, str] = MappingProxyType({}),
        alpha: bool = False,
    ):
        self.path, self.format = formats.check_video_output(path)
        self._channels = 4 if alpha else 3
        sound = None if speech_path is None or not self.format.sound else sound_arguments(speech_path, 1)
        self.width, self.height = width, height
        self._filters, self._finish = filters, finish
        self.frames = 0
        video = self.format.video_arguments(device, codec, quality, run_ffmpeg, alpha)
        self._folder = tempfile.TemporaryDirectory(prefix="anitalker-") if keep or subtitles else None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__; a pipe could fill and block)
        padding = (height % 2, width % 2) if self.format.is_yuv else (0, 0)
        self._padding = ((0, padding[0]), (0, padding[1]), (0, 0))
        rows, columns = height + padding[0], width + padding[1]
        self._planes = np.empty((rows * 3 // 2 + alpha * rows, columns), np.uint8)
        pixels = ("yuva420p" if alpha else "yuv420p") if self.format.is_yuv else ("rgba" if alpha else "rgb24")
        raw = f"-f rawvideo -pix_fmt {pixels} -s {columns}x{rows} -r {fps} -i pipe:0"
        command = ["-y", *raw.split()]
        sounds = 1 if sound else 0
        kept = kept_arguments(keep, 1 + sounds, sounds, Path(self._folder.name)) if keep and self._folder else ([], [])
        texts: tuple[list[str], list[str], str] = ([], [], "")
        if subtitles and self._folder:
            number, codec = 1 + sounds + kept[0].count("-i"), TRACK_CODECS.get(self.format.name, "")
            texts = subtitles.arguments(Path(self._folder.name), columns, rows, number, codec, alpha)
        if sound and speech_path is not None:
            command += input_arguments(Path(speech_path))
        command += kept[0] + texts[0]
        if sound or kept[1] or texts[1]:
            command += ["-map", "0:v:0", *(sound or ()), *self.format.sound]
        tagged = encoder.TAGS if self.format.is_yuv else ""
        drawing = ",".join(filter(None, (tagged, texts[2])))
        command += [*(("-vf", drawing) if drawing else ()), *video]
        # Of kept tracks and chapters the tags stay, of the file's own none.
        command += ["-map_metadata:g" if kept[1] else "-map_metadata", "-1", "-map_chapters", "-1", *kept[1], *texts[1]]
        command += ["-metadata", f"comment={SYNTHETIC_COMMENT}", "-metadata", f"description={SYNTHETIC_COMMENT}"]
        for key, value in tags.items():
            command += ["-metadata", f"{key}={value}"]
        # With tags of other keys than iTunes's all of them stand in moov/udta/meta as key and value.
        flags = "+faststart+use_metadata_tags" if tags else "+faststart"
        command += ["-movflags", flags] if "-c:a" in self.format.sound and self.format.is_signed else []
        self._parts = Parts(self.path, self.format)
        self._process = start_ffmpeg([*command, *self._parts.arguments()], stdin=PIPE, stderr=self._errors)
        assert self._process.stdin is not None
        self._stdin = self._process.stdin

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: np.ndarray, filmed: FilmedFrame | None = None) -> None:
        """Append one frame, uint8 [height,width,3 or 4]; filmed: the one that it was before it was changed."""
        shape = (self.height, self.width, self._channels)
        assert frame.shape == shape and frame.dtype == np.uint8, (frame.shape, frame.dtype)
        for apply_filter in self._filters:
            frame = apply_filter(frame)
        if self.format.is_yuv:
            if np.any(self._padding):
                frame = np.pad(frame, self._padding, mode="edge")
            frame = self._to_planes(frame, filmed)
        try:
            self._stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            raise self._failure(self._reason()) from None
        self.frames += 1

    def _to_planes(self, frame: np.ndarray, filmed: FilmedFrame | None) -> np.ndarray:
        """A padded frame as the encoder takes it: luma, chroma and, if it has one, alpha."""
        if frame.shape[-1] == 4:
            rows = frame.shape[0]
            rgb_to_yuv420(np.ascontiguousarray(frame[..., :3]), self._planes[: rows * 3 // 2])
            self._planes[rows * 3 // 2 :] = frame[..., 3]
            return self._planes
        return keep_filmed(frame, filmed or FilmedFrame(frame), self._planes)

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is not None:
                self._process.kill()
            self._close_pipe()
            if self._process.wait() != 0 and kind is None:
                raise self._failure(self._reason())
            if kind is None:
                self._parts.publish(self._finish)
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from None
        finally:
            if self._process.poll() is None:  # a second Ctrl-C while waiting
                self._process.kill()
                self._process.wait()
            self._errors.close()
            if self._folder:
                self._folder.cleanup()
            self._parts.delete()

    def _failure(self, reason: str) -> Exception:
        """Return the exception for a failure: InputError for a full disk, RuntimeError for the rest."""
        full = shutil.disk_usage(self.path.parent).free < MIN_FREE_BYTES // 16
        if full or "No space left" in reason or "quota" in reason:
            return InputError(f"output does not fit: the disk of {str(self.path.parent)!r} is full; make room")
        return RuntimeError(f"ffmpeg could not finish {self.path.name}: {reason}")

    def _close_pipe(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # ffmpeg has ended; its exit status is read next
            self._stdin.close()

    def _reason(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        return last_line(self._errors.read())
