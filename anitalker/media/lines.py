"""A table of lines to dub (`--segments`): when each begins and ends, its recording, and whose face speaks it.

SRT: the text of a cue is the recording, and a second line `face N` names the face. CSV: columns start, end, speech and,
if wanted, face. Times are those of the video file.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from anitalker.config import SAMPLE_RATE, InputError
from anitalker.files import existing_file
from anitalker.media.clip import Clip
from anitalker.media.video import probe, read_audio
from anitalker.spreadsheet import csv_rows, text_encoding

COLUMNS = ("start", "end", "speech", "face")
MAX_BYTES, MAX_LINES = 2**24, 10_000
TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,3}):)?(\d{1,9}(?:[.,]\d{1,9})?)")  # seconds, M:SS or H:MM:SS, with parts
CUE = re.compile(r"\s*([\d:.,]+)\s*-->\s*([\d:.,]+)")  # what follows is the place of the text
FACE = re.compile(r"face\s+(\d{1,4})", re.IGNORECASE)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """A line to dub. start, end: seconds in the clip; a recording that is longer than its line may move the end.

    number: of its line in the table; speech: the recording, whose first sample is at `start`; face: an index of
    `anitalker faces`, None for the face that is chosen for the whole video.
    """

    number: int
    start: float
    end: float
    speech: Path
    face: int | None = None


def read_lines(path: str | os.PathLike, clip: Clip) -> list[Line]:
    """Read the lines of an SRT or CSV file in the order of their beginnings; recordings are relative to its folder.

    A recording that is longer than its line runs on to the next line of that face, or to the end of the clip; what is
    longer still is cut off, with a warning. InputError, which names the line: for times that are none, not in order or
    not in the clip, for lines of one face that overlap, and for recordings that are missing or have no sound.
    """
    file = existing_file(path, "segments")
    read = {".srt": _srt_cells, ".csv": _csv_cells, ".tsv": _csv_cells}.get(file.suffix.lower())
    if read is None:
        raise InputError(f"segments is {str(file)!r}; allowed is a name that ends in .srt or .csv")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"segments is larger than {MAX_BYTES >> 20} MiB: {str(file)!r}; split it")
    lines: list[Line] = []
    try:
        for number, cells in read(file):
            if len(lines) == MAX_LINES:
                raise InputError(f"segments has more than {MAX_LINES:,} lines: {str(file)!r}; split it")
            lines.append(_checked(number, lambda number=number, cells=cells: _line(number, cells, file.parent, clip)))
    except UnicodeDecodeError:
        raise InputError(f"segments is not text: {str(file)!r}; save it in UTF-8") from None
    if not lines:
        raise InputError(f"segments has no lines: {str(file)!r}; give at least one")
    lines.sort(key=lambda line: line.start)
    return [_checked(line.number, lambda n=n: _with_end(lines, n, clip)) for n, line in enumerate(lines)]


def _checked(number: int, make: Callable[[], Line]) -> Line:
    """Name the line of the table in what `make` raises."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"segments, line {number}: {error}") from None


def _csv_cells(file: Path) -> Iterator[tuple[int, dict[str, str] | InputError]]:
    return csv_rows(file, COLUMNS, _check_columns, "segments")


def _check_columns(header: list[str], file: Path) -> None:
    if unknown := sorted(set(header) - set(COLUMNS)):
        raise InputError(f"segments has unknown columns {unknown[:5]}; allowed are {', '.join(COLUMNS)}")
    missing = [name for name in COLUMNS[:3] if name not in header]
    if missing or len(set(header)) < len(header):
        wrong = f"lacks {' and '.join(missing)}" if missing else "names a column twice"
        raise InputError(f"segments {wrong}: {str(file)!r}; the first line must be a header: start,end,speech,face")


def _srt_cells(file: Path) -> Iterator[tuple[int, dict[str, str] | InputError]]:
    """Yield the number of the line with the times of each cue, and its cells."""
    rows = file.read_text(text_encoding(file, "segments")).splitlines()
    places = [place for place, row in enumerate(rows) if "-->" in row]
    for place in places:
        times = CUE.match(rows[place])
        texts = []
        for row in rows[place + 1 :]:
            if not row.strip() or "-->" in row:
                break
            texts.append(row.strip())
        face = FACE.fullmatch(texts[1]) if len(texts) == 2 else None
        if not times or not texts or len(texts) > 2 or (len(texts) == 2 and not face):
            yield place + 1, InputError("a cue has its times, then a line with the recording, then `face N` if wanted")
            continue
        cells = {"start": times[1], "end": times[2], "speech": texts[0], "face": face[1] if face else ""}
        yield place + 1, cells


def _line(number: int, cells: dict[str, str] | InputError, folder: Path, clip: Clip) -> Line:
    """Make a line of its cells; its end is the one of the table."""
    if isinstance(cells, InputError):
        raise cells
    values = {name: cells.get(name, "").strip() for name in COLUMNS}
    if missing := [name for name in COLUMNS[:3] if not values[name]]:
        raise InputError(f"it lacks {missing[0]}; it needs start, end and speech")
    start, end = _seconds("start", values["start"]), _seconds("end", values["end"])
    if end <= start:
        raise InputError(f"it ends at {end:g} s and begins at {start:g} s; the end must be later")
    face = values["face"]
    if face and not re.fullmatch(r"[0-9]{1,4}", face):
        raise InputError(f"face is {face[:50]!r}; allowed is an index from `anitalker faces`")
    first, last = clip.start, clip.start + clip.seconds
    if start < first - 1e-6 or end > last + float(1 / clip.fps):
        raise InputError(f"it lasts from {start:g} to {end:g} s, the video from {first:g} to {last:g} s; correct it")
    speech = existing_file(folder / values["speech"], "speech")
    return Line(number, max(0.0, start - first), min(end, last) - first, speech, int(face) if face else None)


def _seconds(name: str, text: str) -> float:
    match = TIME.fullmatch(text)
    if not match:
        raise InputError(f"{name} is {text[:50]!r}; allowed are seconds, or H:MM:SS.mmm")
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds.replace(",", "."))


def _with_end(lines: list[Line], place: int, clip: Clip) -> Line:
    """Let a long recording run on, up to the next line of its face; InputError where that begins too early."""
    line = lines[place]
    later = [other for other in lines[place + 1 :] if other.face == line.face]
    if later and later[0].start < line.end - 1e-6:
        raise InputError(f"it ends after line {later[0].number} of the same face has begun; lines must not overlap")
    room = later[0].start if later else clip.seconds
    over = line.start + _recording_seconds(line.speech) - room
    if over > float(1 / clip.fps):
        log.warning(
            "segments, line %d: the last %.1f s of its recording find no place and are cut off", line.number, over
        )
    return replace(line, end=min(room, max(line.end, room + over)))


def _recording_seconds(file: Path) -> float:
    media = probe(file, "speech")
    if media.audio_index is None or media.seconds is None:
        return len(read_audio(file)) / SAMPLE_RATE  # tells what is missing
    return media.seconds
