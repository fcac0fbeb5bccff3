"""How well mattes agree with published ones: intersection over union and mean absolute error, at the pictures' size.

    python -m scripts.study mattes FOLDER [--weights FILE] [--sheet SHEET.png]

FOLDER has portraits NAME.png beside their alpha NAME_a.png, both of one size. The sheet shows each portrait, its
published alpha, ours, and the portrait cut out before a colour, those that agree least first.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anitalker.config import InputError
from anitalker.matte.alpha import find_matte
from anitalker.matte.foreground import estimate_foreground
from anitalker.media.backdrop import lay_over
from anitalker.models.loading import load_matte
from scripts.evaluation.metrics import interval
from scripts.markdown import table

SUFFIX = "_a"
GROUND = (40, 160, 60)  # of the sheet
SHEET_HEIGHT = 320  # pixels of a portrait in it


@dataclass(frozen=True)
class Agreement:
    """One portrait: intersection over union of alpha of a half and more, mean absolute error, seconds of work."""

    name: str
    iou: float
    error: float
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="portraits NAME.png and their alpha NAME_a.png")
    parser.add_argument("--weights", default="matte", help="weights of the matte network (default: the shipped ones)")
    parser.add_argument("--sheet", metavar="FILE.png", help="write a sheet of all portraits")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    network, rows, pictures = load_matte(arguments.weights), [], {}
    for picture, published, name in read_portraits(Path(arguments.folder)):
        begin = time.process_time()
        alpha = find_matte(network, picture)
        rows.append(Agreement(name, *compare(alpha, published), time.process_time() - begin))
        pictures[name] = picture, published, alpha
    rows.sort(key=lambda row: row.iou)
    print(report(rows))
    if arguments.sheet:
        cv2.imwrite(arguments.sheet, sheet([pictures[row.name] for row in rows])[..., ::-1])
    return 0


def read_portraits(folder: Path):
    """Yield pictures uint8 [H,W,3], their alpha float32 [H,W] and names; InputError where there is none."""
    files = [file for file in sorted(folder.glob(f"*{SUFFIX}.png"))]
    if not files:
        raise InputError(f"no mattes NAME{SUFFIX}.png in {str(folder)!r}; give a folder with portraits and mattes")
    for file in files:
        name = file.stem.removesuffix(SUFFIX)
        picture, alpha = cv2.imread(str(folder / f"{name}.png")), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if picture is None or alpha is None or picture.shape[:2] != alpha.shape:
            raise InputError(f"{file.name} has no portrait {name}.png of its size in {str(folder)!r}")
        yield np.ascontiguousarray(picture[..., ::-1]), alpha.astype(np.float32) / 255, name


def compare(alpha: np.ndarray, published: np.ndarray) -> tuple[float, float]:
    """Intersection over union, and mean absolute error, of two alphas [H,W]."""
    ours, theirs = alpha >= 0.5, published >= 0.5
    either = (ours | theirs).sum()
    return float((ours & theirs).sum() / either) if either else 1.0, float(np.abs(alpha - published).mean())


def report(rows: list[Agreement]) -> str:
    """The means with intervals, and the portraits that agree least; rows begin with these."""
    lines = []
    for name, unit in (("iou", "IoU"), ("error", "mean absolute error")):
        values = np.array([getattr(row, name) for row in rows])
        low, high = interval(values)
        median = np.median(values)
        lines.append(f"{unit}: {values.mean():.4f} [{low:.4f}, {high:.4f}], median {median:.4f}, {len(rows)} portraits")
    lines.append(f"{1000 * np.median([row.seconds for row in rows]):.0f} ms of processor time a portrait (median)")
    worst = [[row.name, f"{row.iou:.3f}", f"{row.error:.3f}"] for row in rows[:8]]
    return "\n".join([*lines, table(["portrait", "IoU", "error"], worst)])


def sheet(pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Rows of portrait, published alpha, ours, and the portrait before a colour: uint8 [H,W,3]."""
    cells = []
    for picture, published, alpha in pictures:
        cut = np.dstack([estimate_foreground(picture, alpha), np.rint(255 * alpha).astype(np.uint8)])
        shown = lay_over(cut, np.full_like(picture, GROUND))
        masks = [np.repeat(np.rint(255 * x).astype(np.uint8)[..., None], 3, 2) for x in (published, alpha)]
        row = np.hstack([picture, *masks, shown])
        scale = SHEET_HEIGHT / row.shape[0]
        cells.append(cv2.resize(row, (round(scale * row.shape[1]), SHEET_HEIGHT), interpolation=cv2.INTER_AREA))
    width = max(cell.shape[1] for cell in cells)
    return np.vstack([np.pad(cell, ((0, 0), (0, width - cell.shape[1]), (0, 0))) for cell in cells])
