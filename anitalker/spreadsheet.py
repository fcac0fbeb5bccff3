"""Tables as people save them from spreadsheets: separators, encodings and spellings of CSV."""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from anitalker.config import InputError

SEPARATORS = ",;\t"  # of CSV; spreadsheets write semicolons where a comma stands in numbers, and tabs
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+")
log = logging.getLogger(__name__)


def csv_rows(
    file: Path, columns: Collection[str], check: Callable[[list[str], Path], None], what: str
) -> Iterator[tuple[int, dict[str, str] | InputError]]:
    """Yield (line number, {column: text}); an InputError in place of the row where a line is damaged.

    Spreadsheets' habits are taken: other separators and encodings, column names in capitals or with spaces, empty
    lines. columns: names that are known; check(header, file): raises InputError for a header that cannot be used;
    what: name of the table in messages. UnicodeDecodeError where it is no text.
    """
    with open(file, newline="", encoding=text_encoding(file, what)) as stream:
        separator = _separator(stream.readline(), columns)
        stream.seek(0)
        reader = csv.reader(stream, strict=True, delimiter=separator)
        header = ["_".join(name.casefold().split()) for name in _read_header(reader)]
        check(header, file)
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield reader.line_num, InputError(f"the line is no CSV ({error}); check its quotes")
                return  # where the next line begins is unknown
            if cells is None:
                return
            if len(cells) > len(header):
                name = {",": "commas", ";": "semicolons", "\t": "tabs"}[separator]
                yield reader.line_num, InputError(f"{len(cells)} fields in {len(header)} columns; quote {name}")
            elif any(cell.strip() for cell in cells):
                yield reader.line_num, dict(zip(header, cells, strict=False))


def text_encoding(file: Path, what: str) -> str:
    """Return the encoding of a text file: UTF-8, or by its byte order mark, or else Windows-1252, with a warning."""
    with open(file, "rb") as stream:
        start = stream.read(4)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return encoding
        stream.seek(0)
        try:
            for _ in codecs.iterdecode(stream, "utf-8"):
                pass
        except UnicodeDecodeError:
            log.warning("%s is not UTF-8: it is read as Windows-1252; check names with other letters", what)
            return "cp1252"
    return "utf-8"


def _separator(header: str, columns: Collection[str]) -> str:
    """Return the separator that divides the first line into the most columns that are known."""

    def known(separator: str) -> int:
        return sum("_".join(name.strip(' "').casefold().split()) in columns for name in header.split(separator))

    return max(SEPARATORS, key=known)


def _read_header(reader: Iterator[list[str]]) -> list[str]:
    """Read the first line; no columns where it is damaged or missing."""
    try:
        return next(reader, [])
    except csv.Error:
        return []
