"""Contact sheets: frames of videos side by side at full resolution, labelled, as one PNG.

python -m scripts.contact_sheet a.mp4 b.mp4 -o sheet.png [--columns 8] [--from 0.5 --to 1.3]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from anitalker.config import FPS, InputError
from anitalker.media.video import probe, read_frames

BAR = 18  # height of a row's label in pixels


def sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> np.ndarray:
    """Rows of (label, frames uint8 [H,W,3] of any size) -> one picture; nothing scaled, short rows end in black."""
    width = max(sum(frame.shape[1] for frame in frames) for _, frames in rows)
    heights = [BAR + max(frame.shape[0] for frame in frames) for _, frames in rows]
    canvas = Image.new("RGB", (width, sum(heights)))
    draw, top = ImageDraw.Draw(canvas), 0
    for (label, frames), height in zip(rows, heights, strict=True):
        draw.text((4, top + 3), label, fill=(255, 255, 255))
        left = 0
        for frame in frames:
            canvas.paste(Image.fromarray(frame), (left, top + BAR))
            left += frame.shape[1]
        top += height
    return np.asarray(canvas)


def save(picture: np.ndarray, path: str | Path) -> None:
    """uint8 [H,W,3] to a PNG; its folder is made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def evenly(count: int, columns: int) -> list[int]:
    """At most `columns` frame numbers of 0..count-1, evenly spread, first and last included."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(columns, count))})


def video_row(path: Path, columns: int, start: float = 0.0, end: float | None = None) -> tuple[str, list[np.ndarray]]:
    """A row of the frames of a video between two times in seconds."""
    seconds = probe(path).seconds or 0.0
    first, last = int(start * FPS), int(min(end if end is not None else seconds, seconds) * FPS)
    wanted = {first + i for i in evenly(max(last - first, 1), columns)}
    frames = []
    for number, frame in enumerate(read_frames(path)):
        if number in wanted:
            frames.append(frame)
        if number >= max(wanted):
            break
    if not frames:
        raise InputError(f"no frame of {path} lies between {start} s and {end} s; it is {seconds} s long")
    return f"{path.name}   frames {min(wanted)} to {max(wanted)}", frames


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=Path, help="one row each")
    parser.add_argument("-o", "--out", required=True, help="PNG to write")
    parser.add_argument("--columns", type=int, default=8, help="frames per row, evenly spread")
    parser.add_argument("--from", dest="start", type=float, default=0.0, help="seconds")
    parser.add_argument("--to", dest="end", type=float, help="seconds")
    arguments = parser.parse_args(argv)
    try:
        rows = [video_row(path, arguments.columns, arguments.start, arguments.end) for path in arguments.videos]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    save(sheet(rows), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
