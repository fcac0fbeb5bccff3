"""The user's files: checks of inputs and outputs, names for half-written ones; and where the examples are."""

from __future__ import annotations

import os
import shlex
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from anitalker.config import InputError

_PACKAGE = Path(__file__).resolve().parent
# Portraits and recordings that ship with the page: within the package in a wheel, beside it in a checkout.
EXAMPLES = next(
    (folder for folder in (_PACKAGE / "app/examples", _PACKAGE.parent / "app/examples") if folder.is_dir()), _PACKAGE
)
MIN_FREE_BYTES = 2**20  # bytes: a second of a small video


def existing_file(path: str | os.PathLike, what: str) -> Path:
    """Return `path` if it is a readable regular file that is not empty; raise InputError, naming `what`, otherwise."""
    file = Path(path)
    try:
        if file.is_dir():
            raise InputError(f"{what} is a folder: {str(file)!r}; give a file")
        if not file.exists():
            raise InputError(f"{what} is missing: no file {str(file)!r}; check the path")
        if not file.is_file():  # a pipe or a device may never end
            raise InputError(f"{what} is not a regular file: {str(file)!r}; save it to a file first")
        if file.stat().st_size == 0:
            raise InputError(f"{what} is empty: {str(file)!r} has 0 bytes; give a complete file")
    except OSError as error:  # a name that is too long, a folder that may not be entered, links in a circle
        raise InputError(f"{what} cannot be reached: {shorten(file)!r} ({error.strerror}); check the path") from None
    if not os.access(file, os.R_OK):
        raise InputError(f"{what} cannot be read: {str(file)!r}; check its permissions")
    return file


def shorten(path: str | os.PathLike) -> str:
    """Shorten a path for a message: of a very long one both ends stay."""
    text = str(path)
    return text if len(text) <= 120 else f"{text[:60]}...{text[-50:]}"


def check_output(path: str | os.PathLike, suffixes: str | tuple[str, ...] = ".mp4") -> Path:
    """Return `path` if a file can be made there; raise InputError otherwise. Leaves nothing behind."""
    file = Path(path)
    allowed = (suffixes,) if isinstance(suffixes, str) else suffixes
    suffix = " or ".join(filter(None, (", ".join(allowed[:-1]), allowed[-1])))
    if file.suffix.lower() not in allowed:
        raise InputError(f"output is {str(file)!r}; allowed is a name that ends in {suffix}")
    if len(os.fsencode(file.name)) > 255:
        raise InputError(f"output name is too long: {shorten(file)!r}; file systems take 255 bytes")
    try:
        if file.is_dir():
            raise InputError(f"output is a folder: {str(file)!r}; give the name of a file in it that ends in {suffix}")
        check_folder_exists(file)
        if shutil.disk_usage(file.parent).free < MIN_FREE_BYTES:
            raise InputError(f"output has no room: the disk of {str(file.parent)!r} is full; choose another")
    except OSError as error:
        raise InputError(f"output cannot be reached: {shorten(file)!r} ({error.strerror}); choose another") from None
    trial = part_path(file)
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise InputError(
            f"output folder cannot be written: {str(file.parent)!r} ({error.strerror}); choose another"
        ) from None
    return file


def check_folder_exists(file: Path) -> None:
    """Raise InputError, with the command that makes it, if the folder of an output file is missing."""
    if not file.parent.is_dir():
        command = f"mkdir -p {shlex.quote(str(file.parent))}"
        raise InputError(f"output folder is missing: {str(file.parent)!r}; make it with `{command}`")


def check_output_is_no_input(output: str | os.PathLike, *inputs: object) -> None:
    """Raise InputError if an output would replace one of the inputs; inputs that are no paths are passed over."""
    for source in inputs:
        is_path = isinstance(source, str | os.PathLike)
        if is_path and os.path.exists(output) and os.path.exists(source) and os.path.samefile(output, source):
            raise InputError(f"output is one of the inputs: {str(output)!r}; choose another name")


def part_path(file: Path) -> Path:
    """Make a fresh hidden name in the same folder, so that the last step is a rename within one file system."""
    return file.with_name(f".{file.stem[:40]}.{uuid.uuid4().hex[:8]}.part{file.suffix}")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file under another name, then rename it: it appears whole or not at all.

    It gets the permissions of any new file (umask), whatever `write` gives it: safetensors makes files for the owner.
    """
    partial = part_path(path)
    try:
        partial.touch()
        mode = partial.stat().st_mode
        write(partial)
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
