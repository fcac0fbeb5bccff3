"""Rows of numbers kept in a file while their number is not known, so that hours of video take no memory."""

from __future__ import annotations

import tempfile

import numpy as np


class Spool:
    """Rows float32 [width], appended one by one and read by number; the file has no name and goes with the object."""

    def __init__(self, width: int) -> None:
        self.width, self.rows = width, 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the object)

    def append(self, row: np.ndarray) -> None:
        """Append one row."""
        assert row.shape == (self.width,), row.shape
        self._file.write(np.ascontiguousarray(row, np.float32).tobytes())
        self.rows += 1

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Consecutive rows, float32 [n,width]."""
        start, stop, _ = rows.indices(self.rows)
        self._file.flush()
        self._file.seek(4 * self.width * start)
        data = self._file.read(4 * self.width * max(stop - start, 0))
        self._file.seek(0, 2)
        return np.frombuffer(data, np.float32).reshape(-1, self.width)
