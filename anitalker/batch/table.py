"""Read a table of jobs, CSV or JSON lines, and check every line. Nothing in a table is trusted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from anitalker import __version__
from anitalker.batch.input_files import FILE_OPTIONS, check_file, hash_of, open_video
from anitalker.config import ORIGINAL_SIZE, DubOptions, InputError, RenderOptions, check_choice
from anitalker.media.formats import FORMATS, SINGLE_FILES, check_options
from anitalker.media.lines import read_lines
from anitalker.spreadsheet import DECIMAL_COMMA, csv_rows

SOURCES = ("speech", "text", "video")  # what drives the portrait: one of them in each line
DUB_SOURCES = ("speech", "text", "segments")  # what is said in a video, in a line without a portrait
OPTIONS = fields(RenderOptions)
DEFAULTS = RenderOptions()
DUB_DEFAULTS, NO_DUBBING = RenderOptions(size=ORIGINAL_SIZE), DubOptions()
# Of RenderOptions, what a dub heeds.
DUB_OPTIONS = ("also", "seed", "lips", "size", "face", "face_backend", "quality", "codec", "marks")
DUB_OPTIONS += ("label", "label_language", "label_style", "label_seconds")
DUB_COLUMNS = {"from": "start", "to": "stop"}  # columns named otherwise than their field of DubOptions
DUB_COLUMNS |= {option.name: option.name for option in fields(DubOptions) if option.name not in DUB_COLUMNS.values()}
COLUMNS = ("id", "portrait", *SOURCES, "voice", "absolute", "format", *DUB_COLUMNS)
COLUMNS += tuple(option.name for option in OPTIONS)
MAX_LINES, MAX_BYTES, MAX_CELL_CHARACTERS = 100_000, 2**28, 20_000
MAX_ID_CHARACTERS = 100  # and twice as many bytes: it becomes a file name
RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}  # Windows'
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Job:
    """A line of the table: `source` drives `portrait`, or is said in `video` (a dub).

    The source is a path or, of kind `text`, the words to speak. files: other files that decide on the output.
    """

    id: str
    line: int
    portrait: str  # empty for a dub
    kind: str  # one of SOURCES; of DUB_SOURCES for a dub
    source: str
    options: RenderOptions
    voice: str | None = None
    absolute: bool = False
    video: str = ""  # that is dubbed
    dubbing: DubOptions = NO_DUBBING
    files: tuple[str, ...] = ()
    format: str = SINGLE_FILES[0]

    @property
    def output_name(self) -> str:
        """The name of its video."""
        return f"{self.id}.{self.format}"

    def fingerprint(self, model: str) -> str:
        """Hash (SHA-256) everything that decides on the output: contents of the inputs, options, model, version."""
        options = _changed(self.options, DUB_DEFAULTS if self.video else DEFAULTS)
        options.pop("batch_size", None)
        for name in FILE_OPTIONS:
            if name in options:
                options[name] = hash_of(options[name])
        if Path(self.options.background).is_absolute():
            options["background"] = hash_of(self.options.background)
        if self.options.also:
            options["also"] = [hash_of(file) for file in self.options.also]
        source = self.source if self.kind == "text" else hash_of(self.source)
        inputs = [hash_of(self.video or self.portrait), self.kind, source, self.voice, self.absolute]
        if self.video:
            dubbing = _changed(replace(self.dubbing, segments=None), NO_DUBBING)
            inputs += ["dub", dubbing, *map(hash_of, self.files)]
        if self.format != SINGLE_FILES[0]:
            inputs += [self.format]
        text = json.dumps([inputs, options, model, __version__], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _changed(options: RenderOptions | DubOptions, defaults: RenderOptions | DubOptions) -> dict[str, Any]:
    """Options that differ from their defaults, alone: a new option of AniTalker shall not undo finished jobs."""
    values = {option.name: getattr(options, option.name) for option in fields(options)}
    return {name: value for name, value in values.items() if value != getattr(defaults, name)}


@dataclass(frozen=True)
class InvalidRow:
    """A line that is no job, and the reason. line counts from 1; id is empty where the line has none."""

    line: int
    id: str
    reason: str


def read(path: str | os.PathLike) -> tuple[list[Job], list[InvalidRow]]:
    """Read all jobs of a table, and all lines that are no jobs. Paths in it are relative to its own folder.

    InputError when the table as a whole is wrong: missing, of another format, without the needed columns, too large.
    """
    from anitalker.files import existing_file

    file = existing_file(path, "table of jobs")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"table of jobs is larger than {MAX_BYTES >> 20} MiB: {str(file)!r}; split it")
    rows = {".csv": _csv_rows, ".tsv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}.get(file.suffix.lower())
    if rows is None:
        raise InputError(f"table of jobs is {str(file)!r}; allowed is a name that ends in .csv, .tsv or .jsonl")
    for remembered in (hash_of, check_file, open_video):
        remembered.cache_clear()
    jobs: list[Job] = []
    invalid: list[InvalidRow] = []
    lines_by_id: dict[str, int] = {}
    try:
        for number, row in rows(file):
            if len(jobs) + len(invalid) == MAX_LINES:
                raise InputError(f"table of jobs has more than {MAX_LINES:,} lines: {str(file)!r}; split it")
            try:
                job = _job(number, row, file.parent)
                key = job.id.casefold()  # many file systems do not tell A.mp4 from a.mp4
                if key in lines_by_id:
                    raise InputError(f"id {job.id!r} came before, in line {lines_by_id[key]}; each id names one output")
                lines_by_id[key] = number
                jobs.append(job)
            except (InputError, ValueError, OSError, RecursionError) as error:
                name = row.get("id") if isinstance(row, dict) else None
                invalid.append(
                    InvalidRow(number, str(name or "")[:MAX_ID_CHARACTERS], " ".join(str(error).split())[:500])
                )
    except UnicodeDecodeError:
        raise InputError(f"table of jobs is not text: {str(file)!r}; save it as CSV in UTF-8") from None
    if not jobs and not invalid:
        raise InputError(f"table of jobs has no lines: {str(file)!r}; give at least one job")
    return jobs, invalid


def _csv_rows(file: Path) -> Iterator[tuple[int, object]]:
    return csv_rows(file, COLUMNS, _check_columns, "table of jobs")


def _check_columns(header: list[str], file: Path) -> None:
    if unknown := sorted(set(header) - set(COLUMNS)):
        raise InputError(f"table of jobs has unknown columns {unknown[:5]}; allowed are {', '.join(COLUMNS)}")
    if len(set(header)) < len(header):
        raise InputError(f"table of jobs names a column twice: {str(file)!r}; the first line must be a header")
    missing = ["id"] if "id" not in header else []
    if "portrait" not in header and not ("video" in header and set(header) & set(DUB_SOURCES)):
        missing.append("portrait")
    if missing:
        raise InputError(f"table of jobs lacks {' and '.join(missing)}: {str(file)!r}; the first line must be a header")
    if not set(header) & set(SOURCES):
        raise InputError(f"table of jobs has none of {', '.join(SOURCES)}: {str(file)!r}; add one of them")


def _json_rows(file: Path) -> Iterator[tuple[int, object]]:
    """Yield (line number, object of that line); an InputError in place of the object where the line has none."""
    with open(file, encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            row: object
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
    """Make a job of a row and check that its inputs are readable; InputError, ValueError or OSError if it is none."""
    if isinstance(row, InputError):
        raise row
    assert isinstance(row, dict)
    values = {name: value for name, value in row.items() if value is not None and str(value).strip() != ""}
    for name, value in values.items():
        if isinstance(value, list | dict) or len(str(value)) > MAX_CELL_CHARACTERS:
            raise InputError(f"{name} is no plain value of at most {MAX_CELL_CHARACTERS:,} letters")
    subject = "portrait" if "portrait" in values or "video" not in values else "video"
    wanted = SOURCES if subject == "portrait" else DUB_SOURCES
    missing = [name for name in ("id", subject) if name not in values]
    sources = [name for name in wanted if name in values]
    if missing or len(sources) != 1:
        came = f"lacks {missing[0]}" if missing else f"gives {' and '.join(sources) or 'none'} of {', '.join(wanted)}"
        raise InputError(
            f"the line {came}; it needs id, portrait and one of {', '.join(SOURCES)}; "
            f"or, to dub, id, video and one of {', '.join(DUB_SOURCES)}"
        )
    return (_portrait_job if subject == "portrait" else _dub_job)(line, values, sources[0], folder)


def _portrait_job(line: int, values: dict[str, Any], kind: str, folder: Path) -> Job:
    """A line whose portrait moves."""
    if others := [name for name in DUB_COLUMNS if name in values]:
        raise InputError(f"the line gives {others[0]}, which is for dubs; leave it empty, or leave portrait empty")
    options = _options(values) | _also(values, folder)
    options |= {name: _path(folder, options[name], name) for name in FILE_OPTIONS if name in options}
    if (folder.resolve() / str(options.get("background", ""))).is_file():
        options["background"] = _path(folder, options["background"], "background")
    chosen = RenderOptions(**options)
    return Job(
        _id(values["id"]),
        line,
        _path(folder, values["portrait"], "portrait"),
        kind,
        str(values["text"]) if kind == "text" else _path(folder, values[kind], kind),
        chosen,
        str(values["voice"]) if "voice" in values else None,
        "absolute" in values and bool(_value("absolute", "bool", values["absolute"])),
        format=_format(values, chosen),
    )


def _format(values: dict[str, Any], options: RenderOptions) -> str:
    """The format of a line's video; InputError where there is none such, or where it does not fit the options."""
    name = str(values.get("format", SINGLE_FILES[0])).strip().lower().lstrip(".")
    check_choice("format", name, SINGLE_FILES)
    check_options(FORMATS[f".{name}"], options)
    return name


def _also(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The option `also` of a line: files, parted by |."""
    if "also" not in values:
        return {}
    return {"also": tuple(_path(folder, name.strip(), "also") for name in str(values["also"]).split("|"))}


def _dub_job(line: int, values: dict[str, Any], kind: str, folder: Path) -> Job:
    """A line that dubs a video."""
    unheeded = [option.name for option in OPTIONS if option.name not in (*DUB_OPTIONS, "batch_size")]
    if others := [name for name in (*unheeded, "absolute", "format") if name in values]:
        raise InputError(f"the line gives {others[0]}, which has no effect on a dub; leave it empty")
    types = {option.name: str(option.type) for option in fields(DubOptions)}
    given = {name: column for column, name in DUB_COLUMNS.items() if column in values}
    chosen: dict[str, Any] = {name: _value(column, types[name], values[column]) for name, column in given.items()}
    dubbing = DubOptions(**chosen)
    video = _path(folder, values["video"], "video")
    if {"from", "to"} & set(given.values()):
        open_video(video, dubbing.start, dubbing.stop)
    files: tuple[str, ...] = ()
    if dubbing.segments is not None:
        source = _path(folder, dubbing.segments, "segments")
        dubbing = replace(dubbing, segments=source)
        lines = read_lines(source, open_video(video, dubbing.start, dubbing.stop))
        files = tuple(str(said.speech) for said in lines)
        for file in files:
            check_file(file, "speech")
    else:
        if kind == "text" and dubbing.follow != DubOptions.follow:
            raise InputError(f"follow is {dubbing.follow}, but a text shows no face; give a video as speech")
        what = kind if dubbing.follow == DubOptions.follow else "performance"
        source = str(values["text"]) if kind == "text" else _path(folder, values[kind], what)
    return Job(
        _id(values["id"]),
        line,
        "",
        kind,
        source,
        RenderOptions(**{"size": DUB_DEFAULTS.size, **_options(values), **_also(values, folder)}),
        str(values["voice"]) if "voice" in values else None,
        video=video,
        dubbing=dubbing,
        files=files,
    )


def _options(values: dict[str, Any]) -> dict[str, Any]:
    """The render options among the cells of a line."""
    return {
        option.name: _value(option.name, str(option.type), values[option.name])
        for option in OPTIONS
        if option.name in values
    }


def _id(value: object) -> str:
    """Check an id, which becomes a file name: letters and digits of any script, space, dot, dash and underscore."""
    text = unicodedata.normalize("NFC", str(value))
    is_plain = re.fullmatch(r"\w[\w .\-]*", text) and not text.endswith((".", " "))
    if not is_plain or len(text) > MAX_ID_CHARACTERS or len(text.encode()) > 2 * MAX_ID_CHARACTERS:
        raise InputError(
            f"id is {text[:MAX_ID_CHARACTERS]!r}; allowed are up to {MAX_ID_CHARACTERS} letters, digits, spaces, "
            "dots, dashes and underscores that begin with a letter or digit"
        )
    if text.split(".")[0].strip().casefold() in RESERVED_NAMES or text.casefold() == "results":
        raise InputError(f"id is {text!r}, a reserved name; choose another")
    return text


def _value(name: str, kind: str, value: object) -> object:
    """Convert a cell to the type of its option, as RenderOptions annotates it."""
    text = str(value).strip()
    if kind.startswith("bool"):
        if text.lower() not in TRUE_WORDS + FALSE_WORDS:
            raise InputError(f"{name} is {text[:50]!r}; allowed are true and false")
        return text.lower() in TRUE_WORDS
    if "str" in kind:
        return text
    try:
        if isinstance(value, bool):
            raise ValueError
        if DECIMAL_COMMA.fullmatch(text) and kind.startswith("float"):
            text = text.replace(",", ".")
        return int(text) if kind.startswith("int") else float(text)
    except ValueError:
        whole = "a whole number" if kind.startswith("int") else "a number"
        raise InputError(f"{name} is {text[:50]!r}; allowed is {whole}") from None


def _path(folder: Path, value: object, what: str) -> str:
    """Make a path of the table absolute and check that it is a readable file of its kind."""
    path = str(folder.resolve() / str(value))
    check_file(path, what)
    return path
