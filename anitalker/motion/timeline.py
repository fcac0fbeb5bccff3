"""A timeline: how strong expressions and emotions are over time, and where eyes look, from a table of key frames.

CSV: a column `seconds`, and one for each name; an empty cell is no key frame of that name. JSON: a list of objects with
`seconds` and names. A strength passes smoothly from one key frame to the next, and holds before the first and after the
last.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anitalker.config import EMOTIONS, EXPRESSIONS, FPS, GAZE_LIMITS, InputError
from anitalker.files import existing_file
from anitalker.runtime.smoothstep import smoothstep
from anitalker.spreadsheet import csv_rows

NAMES = (*EMOTIONS, *EXPRESSIONS, *GAZE_LIMITS)
MAX_BYTES = 2**22
MAX_SECONDS = 86_400


def read_timeline(path: str | os.PathLike, frames: int) -> dict[str, Tensor]:
    """The strengths [frames], 25 per second, of every name in a table. InputError names the row that is wrong."""
    keys: dict[str, list[tuple[float, float]]] = {}
    last = -1.0
    for row, seconds, values in _rows(existing_file(path, "timeline")):
        if seconds <= last:
            raise InputError(
                f"timeline, row {row}: {seconds:g} seconds follow {last:g}; give rows in the order of time"
            )
        last = seconds
        for name, value in values.items():
            keys.setdefault(name, []).append((seconds, value))
    if not keys:
        raise InputError(
            f"timeline {str(path)!r} has no strengths; give a column `seconds`, and one for each expression"
        )
    times = torch.arange(frames) / FPS
    return {name: _course(times, keys[name]) for name in keys}


def _course(times: Tensor, keys: list[tuple[float, float]]) -> Tensor:
    """Strengths at times [T] between key frames (seconds, strength)."""
    moments, values = torch.tensor(keys, dtype=torch.float32).T.contiguous()
    after = torch.searchsorted(moments, times, right=True).clamp(1, max(len(keys) - 1, 1))
    before = after - 1
    after = after.clamp(max=len(keys) - 1)
    span = (moments[after] - moments[before]).clamp(min=1e-6)
    share = smoothstep(((times - moments[before]) / span).clamp(0, 1))
    return torch.lerp(values[before], values[after], share)


def _rows(file: Path) -> Iterator[tuple[int, float, dict[str, float]]]:
    """The number of each row, its seconds and its strengths."""
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"timeline is larger than {MAX_BYTES >> 20} MiB: {str(file)!r}; split it")
    read = {".csv": _csv_cells, ".tsv": _csv_cells, ".json": _json_cells}.get(file.suffix.lower())
    if read is None:
        raise InputError(f"timeline is {str(file)!r}; allowed is a name that ends in .csv or .json")
    try:
        for row, cells in read(file):
            if isinstance(cells, InputError):
                raise InputError(f"timeline, row {row}: {cells}")
            filled = {name: value for name, value in cells.items() if str(value).strip()}
            if "seconds" not in filled:
                raise InputError(f"timeline, row {row}: it lacks seconds")
            seconds = _number(row, "seconds", filled.pop("seconds"), 0, MAX_SECONDS)
            _check_names(filled)
            yield row, seconds, {name: _number(row, name, v, *_limits(name)) for name, v in filled.items()}
    except UnicodeDecodeError:
        raise InputError(f"timeline is not text: {str(file)!r}; save it in UTF-8") from None


def _limits(name: str) -> tuple[float, float]:
    """The lowest and the highest value of a name: strengths, or degrees."""
    most = GAZE_LIMITS.get(name, 1.0)
    return (0.0 if name in EMOTIONS else -most), most


def _check_names(names: Collection[str]) -> None:
    for name in names:
        if name not in NAMES:
            raise InputError(f"timeline has {str(name)[:50]!r}; allowed are seconds, {', '.join(NAMES)}")


def _number(row: int, name: str, value: Any, low: float, high: float) -> float:
    try:
        number = float(str(value).replace(",", "."))
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise InputError(f"timeline, row {row}: {name} is {str(value)[:20]!r}; allowed is {low:g} to {high:g}")
    return number


def _csv_cells(file: Path) -> Iterator[tuple[int, dict[str, str] | InputError]]:
    def check(header: list[str], file: Path) -> None:
        _check_names([name for name in header if name != "seconds"])
        if header.count("seconds") != 1 or len(set(header)) < len(header):
            raise InputError(f"timeline {str(file)!r} needs a header with `seconds` and names, each once")

    return csv_rows(file, ("seconds", *NAMES), check, "timeline")


def _json_cells(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        rows = json.loads(file.read_text("utf-8-sig"))
    except (json.JSONDecodeError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f'timeline {str(file)!r} is no JSON list of objects such as {{"seconds": 0, "smile": 0.5}}')
    return enumerate(rows, 1)
