"""An optional ledger of what was made on this machine: an SQLite file that resolves the identifiers of stripped files.

It holds identifier, time, model, seed and the SHA-256 of each file; no pictures, names or paths.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from anitalker.config import InputError
from anitalker.weights.registry import sha256

VARIABLE = "ANITALKER_LEDGER"  # names the file; unset, nothing is recorded
WAITING_SECONDS = 30  # for other processes that write
_TABLE = """CREATE TABLE IF NOT EXISTS files
    (identifier TEXT PRIMARY KEY, made TEXT NOT NULL, model TEXT NOT NULL, seed INTEGER, sha256 TEXT NOT NULL)"""


@dataclass(frozen=True)
class Entry:
    """A file that was made: identifier, time (ISO 8601, UTC), model, seed (None: none was used), hash of the file."""

    identifier: str
    made: str
    model: str
    seed: int | None
    sha256: str


class Ledger:
    """A ledger that is written to. Several processes may write at once.

    InputError where the file cannot be made or written, or is no ledger.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        with _opened(self.path, writing=True) as database:
            database.execute(_TABLE)

    def record(self, identifier: str, model: str, seed: int | None, file: Path) -> Entry:
        """Append the entry of a finished file and return it; an entry of the same identifier is replaced."""
        made = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
        entry = Entry(identifier, made, model, seed, sha256(file))
        with _opened(self.path, writing=True) as database:
            values = (entry.identifier, entry.made, entry.model, entry.seed, entry.sha256)
            database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", values)
        return entry


def chosen_ledger() -> Ledger | None:
    """Return the ledger that ANITALKER_LEDGER names; None where it is not set."""
    path = os.environ.get(VARIABLE)
    return Ledger(path) if path else None


def look_up(path: str | os.PathLike, identifier: str | None) -> Entry | None:
    """Return the entry of an identifier; InputError where the file is no ledger."""
    if not Path(path).is_file():
        raise InputError(f"ledger is missing: no file {str(path)!r}; give the file that {VARIABLE} named")
    with _opened(Path(path), writing=False) as database:
        row = database.execute(
            "SELECT identifier, made, model, seed, sha256 FROM files WHERE identifier = ?", (identifier,)
        ).fetchone()
    return Entry(*row) if row else None


@contextlib.contextmanager
def _opened(path: Path, writing: bool) -> Iterator[sqlite3.Connection]:
    """Open a ledger for one transaction."""
    mode = "rwc" if writing else "ro"
    try:
        address = f"{path.absolute().as_uri()}?mode={mode}"
        with contextlib.closing(sqlite3.connect(address, timeout=WAITING_SECONDS, uri=True)) as database, database:
            yield database
    except sqlite3.Error as error:
        verb = "written" if writing else "read"
        raise InputError(
            f"ledger cannot be {verb}: {str(path)!r} ({error}); give an SQLite file of AniTalker"
        ) from None
