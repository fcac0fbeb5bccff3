"""Rows of numbers kept in a file while their number is not known, so that hours of video take no memory."""

from __future__ import annotations

import tempfile

import numpy as np


class Spool:
    """Rows [width] of a type, appended one by one and read by number; the file has no name and goes with the object."""

    def __init__(self, width: int, dtype: type = np.float32) -> None:
        self.width, self.dtype, self.rows = width, np.dtype(dtype), 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the object)

    def append(self, row: np.ndarray) -> int:
        """Append one row; returns its number."""
        assert row.shape == (self.width,), row.shape
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(row, self.dtype).tobytes())
        self.rows += 1
        return self.rows - 1

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Consecutive rows [n,width]."""
        start, stop, _ = rows.indices(self.rows)
        size = self.width * self.dtype.itemsize
        self._file.seek(size * start)
        return np.frombuffer(self._file.read(size * max(stop - start, 0)), self.dtype).reshape(-1, self.width)
