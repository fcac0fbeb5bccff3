"""Several recordings at once, as files or in ZIPs: unpacked within bounds, then checked one by one.

A ZIP names its entries and tells their sizes; neither is trusted. Names are shown and never used as paths, and bytes
are counted as they are unpacked.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.media.audio_checks import audio_warnings, is_silent
from anitalker.media.video import read_audio
from anitalker.server.limits import MB, Limits, check_media, check_seconds

ZIP_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")  # of a ZIP, and of an empty one
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # whose pieces unpack to pieces of a bounded size
UNPACKED_UPLOADS = 3  # bytes of all that is unpacked, in uploads of the largest size
PIECE_BYTES = 2**16  # unpacked at a time
MAX_READ_BYTES = 2**20  # of a ZIP at a time: bounds its table of contents to some 20,000 entries
MAX_NAME = 80  # characters shown
CLUTTER = ("__macosx", "thumbs.db", "desktop.ini")  # what systems add to ZIPs


@dataclass(frozen=True)
class Recording:
    """A recording by the name that the visitor knows it by, of so many seconds; or why it is left out."""

    name: str
    file: Path
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    refusal: InputError | None = None


class BoundedFile(io.FileIO):
    """A file that refuses to be read in large pieces: `zipfile` reads a whole table of contents at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, all for -1. BadZipFile for more than MAX_READ_BYTES."""
        wanted = size if size is not None and size >= 0 else Path(str(self.name)).stat().st_size - self.tell()
        if wanted > MAX_READ_BYTES:
            raise zipfile.BadZipFile("its table of contents is too long")
        return super().read(wanted)


def read_recordings(
    uploads: Sequence[tuple[str, Path]], new_folder: Callable[[], Path], limits: Limits
) -> list[Recording]:
    """Unpack and check uploads, each with its name: recordings in their order, those of a ZIP in its place.

    new_folder: makes the folder of what is unpacked. InputError where there are too many recordings, or they are too
    long or too large in all; then nothing that was unpacked is left. A single bad file does not raise: it has a
    `refusal`.
    """
    folder = None
    try:
        with contextlib.ExitStack() as stack:
            archives = {file: _open(name, file, stack) for name, file in uploads if is_zip(file)}
            count = sum(len(archives[file].wanted) if file in archives else 1 for _, file in uploads)
            if count > limits.batch_recordings:
                allowed = limits.batch_recordings
                raise InputError(f"{count} recordings came; allowed are {allowed} at once; leave some out")
            if archives:
                folder = new_folder()
            recordings = list(_each(uploads, archives, folder, limits))
        seconds = sum(recording.seconds for recording in recordings)
        if seconds > limits.batch_seconds:
            allowed = f"{limits.batch_seconds:.0f} s"
            raise InputError(f"the recordings are {seconds:.0f} s long in all; allowed are {allowed}; leave some out")
    except InputError:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return recordings


@dataclass(frozen=True)
class _Archive:
    file: zipfile.ZipFile
    wanted: list[zipfile.ZipInfo]  # entries that are no clutter


def _open(name: str, path: Path, stack: contextlib.ExitStack) -> _Archive:
    """Open a ZIP and read its table of contents; `stack` closes it. InputError where it is damaged."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(BoundedFile(path, "rb"))))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{name[:MAX_NAME]} is a damaged ZIP ({error}); pack it again") from None
    return _Archive(archive, [entry for entry in archive.infolist() if not is_clutter(entry)])


def _each(
    uploads: Sequence[tuple[str, Path]], archives: dict[Path, _Archive], folder: Path | None, limits: Limits
) -> Iterator[Recording]:
    """Check every upload and every entry of the ZIPs among them; InputError where they are too large in all."""
    bytes_left = UNPACKED_UPLOADS * limits.upload_bytes
    for number, (upload_name, upload) in enumerate(uploads):
        if upload not in archives:
            yield check_recording(upload_name[:MAX_NAME], upload, limits)
            continue
        assert folder is not None
        for entry_number, entry in enumerate(archives[upload].wanted):
            name = shown_name(entry.filename)
            target = folder / f"{number}-{entry_number}" / plain_name(name)
            target.parent.mkdir()
            try:
                bytes_left -= _unpack(archives[upload].file, entry, target, limits.upload_bytes)
            except InputError as error:
                target.unlink(missing_ok=True)
                yield Recording(name, target, refusal=error)
                continue
            if bytes_left < 0:
                total = UNPACKED_UPLOADS * limits.upload_bytes / MB
                raise InputError(f"unpacked, the recordings have more than {total:g} MB in all; leave some out")
            recording = check_recording(name, target, limits)
            if recording.refusal:
                target.unlink()
            yield recording


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, max_bytes: int) -> int:
    """Unpack an entry to `target` and return its bytes. InputError where that cannot be done, or it has too many."""
    if entry.flag_bits & 1:
        raise InputError("it is locked with a password; pack the ZIP without one")
    if entry.compress_type not in METHODS:
        raise InputError("it is packed by a rare method; pack the ZIP with Deflate, as most programs do")
    count = 0
    try:
        with archive.open(entry) as packed, target.open("xb") as unpacked:
            while count <= max_bytes and (piece := packed.read(PIECE_BYTES)):
                count += unpacked.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise InputError(f"it is damaged ({error}); pack the ZIP again") from None
    if count > max_bytes:
        raise InputError(f"unpacked, it has more than {max_bytes / MB:g} MB; make it smaller")
    if is_zip(target):
        raise InputError("it is a ZIP within the ZIP; pack the recordings themselves")
    return count


def check_recording(name: str, file: Path, limits: Limits) -> Recording:
    """Check a recording as a single one is checked; one that is silent is refused, too."""
    try:
        check_media(file, limits, sound=True)
        samples = read_audio(file, what="recording")
        seconds = len(samples) / SAMPLE_RATE
        check_seconds(seconds, "recording", limits)
        if is_silent(samples):
            raise InputError("the recording is silent; give one in which somebody speaks")
    except InputError as error:
        return Recording(name, file, refusal=error)
    return Recording(name, file, seconds, tuple(audio_warnings(samples)))


def is_zip(file: Path) -> bool:
    """Whether a file begins like a ZIP, whatever its name is."""
    with file.open("rb") as stream:
        return stream.read(4) in ZIP_BEGINNINGS


def is_clutter(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder, hidden, or an addition of the system that packed the ZIP."""
    names = [name for name in re.split(r"[\\/]", entry.filename) if name not in ("", ".", "..")]
    hidden = any(name.startswith(".") or name.casefold() in CLUTTER for name in names)
    return not names or entry.is_dir() or hidden


def shown_name(path: str) -> str:
    """The last name of a path in a ZIP, without control characters, short enough to be shown."""
    name = "".join(letter for letter in re.split(r"[\\/]", path)[-1] if letter.isprintable())
    return name[:MAX_NAME] or "a file without a name"


def plain_name(name: str) -> str:
    """Letters, digits and dashes of a name, with its suffix: safe as the name of a file."""
    stem = re.sub(r"[^\w-]+", "-", Path(name).stem)[:40]
    return (stem or "recording") + (suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix := Path(name).suffix) else "")
