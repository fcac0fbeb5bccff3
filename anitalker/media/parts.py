"""The half-written files of a video, under hidden names beside the final one, and how they become it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from anitalker.files import part_path
from anitalker.media.formats import TO_GIF, Format, sequence_files
from anitalker.media.video import run_ffmpeg

Finish = Callable[[Path, Path, str], None]  # written file, target file, title of the file


class Parts:
    """What ffmpeg writes for a video at `path`. A sequence of PNG is written into a folder, a GIF as lossless video."""

    def __init__(self, path: Path, form: Format) -> None:
        self.path, self._form = path, form
        self._is_sequence = form.name == "PNG"
        self.written = part_path(path.with_name("frames") if self._is_sequence else path)
        self._pattern = self.written / "%d.png"
        self._raw, self._palette = part_path(path.with_suffix(".mkv")), part_path(path.with_suffix(".png"))
        if self._is_sequence:
            self.written.mkdir()

    def arguments(self) -> list[str]:
        """Return the last arguments of ffmpeg: the container and the name of the file that it writes."""
        if self._is_sequence:
            escaped = str(self.written).replace("%", "%%")
            return ["-f", self._form.muxer, f"file:{escaped}/%d.png"]
        if self._form.name == "GIF":
            return ["-f", "matroska", f"file:{self._raw}"]
        return ["-f", self._form.muxer, f"file:{self.written}"]

    def publish(self, finish: Finish | None) -> None:
        """Let `finish` make the final file of what was written (each file of a sequence) and give it its name."""
        if self._form.name == "GIF":
            self._make_gif()
        files = [self.written]
        names = [self.path]
        if self._is_sequence:
            files = sequence_files(self._pattern)
            names = [self.path.with_name(self.path.name % number) for number in range(1, len(files) + 1)]
        if finish is not None:
            for file, name in zip(files, names, strict=True):
                self._finish(file, name.name, finish)
        for file, name in zip(files, names, strict=True):
            file.replace(name)

    def delete(self) -> None:
        """Delete what is left."""
        if self._is_sequence:
            shutil.rmtree(self.written, ignore_errors=True)
        for file in (self._raw, self._palette, *(() if self._is_sequence else (self.written,))):
            file.unlink(missing_ok=True)

    def _finish(self, file: Path, title: str, finish: Finish) -> None:
        """Put the final file into the place of the written one."""
        finished = part_path(file)
        try:
            finish(file, finished, title)
            finished.replace(file)
        finally:
            finished.unlink(missing_ok=True)

    def _make_gif(self) -> None:
        """Turn the lossless video into a GIF: its colours first, then the frames in them."""
        generate, use = TO_GIF
        source = ("-i", f"file:{self._raw}")
        commands = (
            ("-y", *source, "-vf", generate, "-frames:v", "1", "-update", "1", f"file:{self._palette}"),
            ("-y", *source, "-i", f"file:{self._palette}", "-lavfi", use, "-loop", "0", f"file:{self.written}"),
        )
        for command in commands:
            status, message = run_ffmpeg(command)
            if status:
                raise OSError(f"the GIF could not be made {message}".strip())
