"""Contact sheets: frames of videos side by side at full resolution, labelled, as one PNG.

    python -m scripts.contact_sheet a.mp4 b.mp4 -o sheet.png [--columns 8] [--from 0.5 --to 1.3]
    python -m scripts.contact_sheet --data DIR --stills 10 --speech 4 -o FOLDER [--model lite]

The second form renders stills of the split `val`, each with several speech clips, one sheet per still; what fails is
counted and named, and the exit status is 1 if anything did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anitalker.config import FPS, InputError, RenderOptions

BAR = 18  # height of a row's label in pixels


def sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> np.ndarray:
    """Rows of (label, frames uint8 [H,W,3] of any size) -> one picture; nothing scaled, short rows end in black."""
    from PIL import Image, ImageDraw

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
    from PIL import Image

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def evenly(count: int, columns: int) -> list[int]:
    """At most `columns` frame numbers of 0..count-1, evenly spread, first and last included."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(columns, count))})


def video_row(path: Path, columns: int, start: float = 0.0, end: float | None = None) -> tuple[str, list[np.ndarray]]:
    """A row of the frames of a video between two times in seconds."""
    from anitalker.media.video import probe, read_frames

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


def render_grid(arguments: argparse.Namespace) -> int:
    """Render stills x speech clips, one sheet per still; the number of failures."""
    from anitalker.pipeline import load
    from scripts.training.data import load_stills, manifest

    stills = list(load_stills(arguments.data, ("val",)))
    picks = [stills[i] for i in evenly(len(stills), arguments.stills)]
    speech = manifest(arguments.data, "speech")
    clips = [speech[i]["id"] for i in evenly(len(speech), arguments.speech)]
    talker, failures = load(arguments.model, device=arguments.device), []
    for row, image, _ in picks:
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            save(image, Path(folder) / "portrait.png")
            for clip in clips:
                name = f"{row['id']} + {clip}"
                out = Path(folder) / f"{clip}.mp4"
                try:
                    portrait = talker.portrait(Path(folder) / "portrait.png")
                    talker.render(portrait, Path(arguments.data) / "speech" / f"{clip}.flac", out, RenderOptions())
                    rows.append((name, video_row(out, arguments.columns, arguments.start, arguments.end)[1]))
                except (InputError, RuntimeError, ValueError) as error:  # what is counted here must not stop the rest
                    failures.append(f"{name}: {error}")
                    print(f"failed: {failures[-1]}", file=sys.stderr)
        if rows:
            rows[0] = (rows[0][0], [image, *rows[0][1]])
            rows[1:] = [(label, [np.zeros_like(image), *frames]) for label, frames in rows[1:]]
            save(sheet(rows), Path(arguments.out) / f"{row['id']}.png")
            print(f"{row['id']}: {len(rows)} of {len(clips)} rendered", file=sys.stderr)
    print(f"{len(picks) * len(clips) - len(failures)} of {len(picks) * len(clips)} rendered, {len(failures)} failed")
    return len(failures)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path, help="videos, one row each")
    parser.add_argument("-o", "--out", required=True, help="PNG to write; with --data the folder for one PNG per still")
    parser.add_argument("--columns", type=int, default=8, help="frames per row, evenly spread")
    parser.add_argument("--from", dest="start", type=float, default=0.0, help="seconds")
    parser.add_argument("--to", dest="end", type=float, default=None, help="seconds")
    parser.add_argument("--data", help="folder laid out as scripts.prepare_data writes it: render its val stills")
    parser.add_argument("--stills", type=int, default=10)
    parser.add_argument("--speech", type=int, default=4, help="speech clips per still")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    if bool(arguments.videos) == bool(arguments.data):
        parser.error("give either videos or --data")
    try:
        if arguments.data:
            return 1 if render_grid(arguments) else 0
        rows = [video_row(path, arguments.columns, arguments.start, arguments.end) for path in arguments.videos]
        save(sheet(rows), arguments.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
