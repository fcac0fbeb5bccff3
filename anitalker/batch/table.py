"""A table of jobs, CSV or JSON lines -> checked jobs. Tables come from anywhere: nothing in them is trusted."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from anitalker import __version__
from anitalker.config import InputError, RenderOptions
from anitalker.weights.registry import sha256

SOURCES = ("speech", "text", "video")  # what a portrait can follow: one of them in each line
OPTIONS = fields(RenderOptions)
DEFAULTS = RenderOptions()
COLUMNS = ("id", "portrait", *SOURCES, "voice", "absolute", *(one.name for one in OPTIONS))
MOST_LINES, MOST_BYTES, MOST_LETTERS = 100_000, 2**28, 20_000
LONGEST_ID = 100  # letters, and twice as many bytes: it becomes a file name
RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}  # of Windows
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Job:
    """One line of the table: `portrait` follows `source`, which is a path or, of kind `text`, the words."""

    id: str
    line: int
    portrait: str
    kind: str  # one of SOURCES
    source: str
    options: RenderOptions
    voice: str | None = None
    absolute: bool = False

    def fingerprint(self, model: str) -> str:
        """SHA-256 of everything that decides on the output: contents of the inputs, options, model, version."""
        # Of the options what differs from the defaults: one that is new to AniTalker shall not redo old work.
        chosen = {one.name: getattr(self.options, one.name) for one in OPTIONS if one.name != "batch_size"}
        options = {name: value for name, value in chosen.items() if value != getattr(DEFAULTS, name)}
        if self.options.pose:
            options["pose"] = _hash(self.options.pose)
        source = self.source if self.kind == "text" else _hash(self.source)
        inputs = [_hash(self.portrait), self.kind, source, self.voice, self.absolute]
        text = json.dumps([inputs, options, model, __version__], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class InvalidRow:
    """A line that is no job, and why; `line` counts from 1, `id` is empty where there is none to name."""

    line: int
    id: str
    reason: str


def read(path: str | os.PathLike) -> tuple[list[Job], list[InvalidRow]]:
    """All jobs of a table and all lines that are none. Paths in it start at its own folder.

    InputError when the table as a whole is wrong: missing, of another kind, without the needed columns, too large.
    """
    from anitalker.files import existing_file

    file = existing_file(path, "table of jobs")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"table of jobs is larger than {MOST_BYTES >> 20} MiB: {str(file)!r}; split it")
    rows = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}.get(file.suffix.lower())
    if rows is None:
        raise InputError(f"table of jobs is {str(file)!r}; allowed is a name that ends in .csv or .jsonl")
    _hash.cache_clear(), _look.cache_clear()
    jobs, refused, seen = [], [], {}
    try:
        for number, row in rows(file):
            if len(jobs) + len(refused) == MOST_LINES:
                raise InputError(f"table of jobs has more than {MOST_LINES:,} lines: {str(file)!r}; split it")
            try:
                job = _job(number, row, file.parent)
                key = job.id.casefold()  # many file systems do not tell A.mp4 from a.mp4
                if key in seen:
                    raise InputError(f"id {job.id!r} came before, in line {seen[key]}; each id names one output")
                seen[key] = number
                jobs.append(job)
            except (InputError, ValueError, OSError, RecursionError) as error:
                name = row.get("id") if isinstance(row, dict) else None
                refused.append(InvalidRow(number, str(name or "")[:LONGEST_ID], " ".join(str(error).split())[:500]))
    except UnicodeDecodeError:
        raise InputError(f"table of jobs is not UTF-8 text: {str(file)!r}; save it as UTF-8") from None
    if not jobs and not refused:
        raise InputError(f"table of jobs has no lines: {str(file)!r}; give at least one job")
    return jobs, refused


def _csv_rows(file: Path) -> Iterator[tuple[int, object]]:
    """(line number, {column: text}); InputError instead of the row where a line is damaged."""
    with open(file, newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, strict=True)
        header = [name.strip() for name in _next(reader) or []]
        _check_columns(header, file)
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield reader.line_num, InputError(f"the line is no CSV ({error}); check its quotes")
                return  # where the next line begins is unknown
            if cells is None:
                return
            if len(cells) > len(header):
                yield reader.line_num, InputError(f"{len(cells)} fields in {len(header)} columns; quote commas")
            elif any(cell.strip() for cell in cells):
                yield reader.line_num, dict(zip(header, cells, strict=False))


def _next(reader) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error:
        return None


def _check_columns(header: list[str], file: Path) -> None:
    if unknown := sorted(set(header) - set(COLUMNS)):
        raise InputError(f"table of jobs has unknown columns {unknown[:5]}; allowed are {', '.join(COLUMNS)}")
    if len(set(header)) < len(header):
        raise InputError(f"table of jobs names a column twice: {str(file)!r}; the first line must be a header")
    if missing := [name for name in ("id", "portrait") if name not in header]:
        raise InputError(f"table of jobs lacks {' and '.join(missing)}: {str(file)!r}; the first line must be a header")
    if not set(header) & set(SOURCES):
        raise InputError(f"table of jobs has none of {', '.join(SOURCES)}: {str(file)!r}; add one of them")


def _json_rows(file: Path) -> Iterator[tuple[int, object]]:
    """(line number, object of that line); InputError instead of the object where there is none."""
    with open(file, encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                row = InputError(f"the line is no JSON object ({str(error)[:100]})")
            if not isinstance(row, dict | InputError):
                row = InputError(f"the line is no JSON object but {type(row).__name__}")
            elif isinstance(row, dict) and (unknown := sorted(set(row) - set(COLUMNS))):
                row = InputError(f"unknown names {unknown[:5]}; allowed are {', '.join(COLUMNS)}")
            yield number, row


def _job(line: int, row: object, folder: Path) -> Job:
    """A row as a job, its inputs there and readable; InputError, ValueError or OSError if it is none."""
    if isinstance(row, InputError):
        raise row
    given = {name: value for name, value in row.items() if value is not None and str(value).strip() != ""}
    for name, value in given.items():
        if isinstance(value, list | dict) or len(str(value)) > MOST_LETTERS:
            raise InputError(f"{name} is no plain value of at most {MOST_LETTERS:,} letters")
    missing = [name for name in ("id", "portrait") if name not in given]
    sources = [name for name in SOURCES if name in given]
    if missing or len(sources) != 1:
        came = f"lacks {missing[0]}" if missing else f"gives {' and '.join(sources) or 'none'} of {', '.join(SOURCES)}"
        raise InputError(f"the line {came}; it needs id, portrait and one of {', '.join(SOURCES)}")
    kind = sources[0]
    settings = {one.name: _value(one.name, one.type, given[one.name]) for one in OPTIONS if one.name in given}
    if "pose" in settings:
        settings["pose"] = _path(folder, settings["pose"], "pose")
    return Job(
        _id(given["id"]),
        line,
        _path(folder, given["portrait"], "portrait"),
        kind,
        str(given["text"]) if kind == "text" else _path(folder, given[kind], kind),
        RenderOptions(**settings),
        str(given["voice"]) if "voice" in given else None,
        "absolute" in given and _value("absolute", "bool", given["absolute"]),
    )


def _id(value: object) -> str:
    """The id, which becomes a file name: letters, digits, space, dot, dash and underscore, of any script."""
    text = unicodedata.normalize("NFC", str(value))
    plain = re.fullmatch(r"\w[\w .\-]*", text) and not text.endswith((".", " "))
    if not plain or len(text) > LONGEST_ID or len(text.encode()) > 2 * LONGEST_ID:
        raise InputError(
            f"id is {text[:LONGEST_ID]!r}; allowed are up to {LONGEST_ID} letters, digits, spaces, dots, dashes and "
            "underscores that begin with a letter or digit"
        )
    if text.split(".")[0].strip().casefold() in RESERVED or text.casefold() == "results":
        raise InputError(f"id is {text!r}, a reserved name; choose another")
    return text


def _value(name: str, kind: str, value: object) -> object:
    """A cell as the type of its option, as RenderOptions annotates it."""
    text = str(value).strip()
    if kind.startswith("bool"):
        if text.lower() not in TRUE + FALSE:
            raise InputError(f"{name} is {text[:50]!r}; allowed are true and false")
        return text.lower() in TRUE
    if kind.startswith("str"):
        return text
    try:
        if isinstance(value, bool):
            raise ValueError
        return int(text) if kind.startswith("int") else float(text)
    except ValueError:
        whole = "a whole number" if kind.startswith("int") else "a number"
        raise InputError(f"{name} is {text[:50]!r}; allowed is {whole}") from None


def _path(folder: Path, value: object, what: str) -> str:
    """A path of the table, made absolute, if it is a readable file of its kind."""
    path = str(folder.resolve() / str(value))
    _look(path, what)
    return path


@functools.cache
def _look(path: str, what: str) -> None:
    """InputError when a file is not there or not what it should be; headers only, each file once."""
    from PIL import Image, UnidentifiedImageError

    from anitalker.files import existing_file
    from anitalker.media.video import probe

    file = existing_file(path, what)
    if what == "pose":
        return
    if what == "portrait":
        try:
            with Image.open(file):
                return
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
            pass  # a video may do
    media = probe(file, what)
    if what == "speech" and media.audio_codec is None:
        raise InputError(f"{what} has no sound: {path!r}; give a recording or a video with sound")
    if what != "speech" and media.video_codec is None:
        raise InputError(f"{what} has no pictures: {path!r}; give a {'picture' if what == 'portrait' else 'video'}")


@functools.cache
def _hash(path: str) -> str:
    return sha256(Path(path))
