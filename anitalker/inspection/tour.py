"""The whole report of a picture, a folder of pictures, or a video: what is read, and which sections are made of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from anitalker import __version__
from anitalker.config import FPS, InputError
from anitalker.files import existing_file
from anitalker.inspection import many_pictures, one_picture
from anitalker.inspection.many_pictures import Many
from anitalker.inspection.one_picture import DEMO, Case
from anitalker.inspection.report import PAGE, Report
from anitalker.inspection.views import view_of
from anitalker.media import portrait_file
from anitalker.media.images import NoPicture, read_picture
from anitalker.media.video import probe, read_frames
from anitalker.motion import driving_video
from anitalker.pipeline import Talker

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"}
PICTURES = 64  # of a folder that are read
FRAMES = 100  # of a video that are read, evenly over its first LONGEST seconds
LONGEST = 60


def kind_of(source: str | Path) -> str:
    """picture, folder or video."""
    if Path(source).is_dir():
        return "folder"
    file = existing_file(source, "source")
    if file.suffix.lower() not in SUFFIXES:
        try:
            read_picture(file)
        except NoPicture:
            return "video"
    return "picture"


def inspect(
    talker: Talker,
    source: str | Path,
    folder: str | Path,
    speech: str | Path | None = None,
    stage: int | None = None,
    channel: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict:
    """The report on a model and a source -> facts for --json.

    A folder gives what a picture gives of its first face, and what its pictures have in common; a video what its first
    frame gives, and what changes over time. speech: whose attention is drawn (None: the demo's, where it is installed).
    stage, channel: of the patches of a folder (None: every stage, its most selective channel).
    """
    started, kind, view = time.perf_counter(), kind_of(source), view_of(talker.model)
    first, crops, names, step = READ[kind](talker, Path(source))
    portrait = talker.portrait(first)
    sound = Path(speech) if speech else DEMO if DEMO.is_file() else None
    case = Case.of(talker, view, portrait.faces[0], sound)
    count = len(case.stage_names)
    if stage is not None and not 0 <= stage < count:
        raise InputError(f"stage is {stage}; allowed is 0 to {count - 1}: {', '.join(case.stage_names)}")
    sections = list(one_picture.SECTIONS)
    if kind != "picture":
        many = Many.of(case, np.stack(crops), names, step)
        more = many_pictures.CLIP if kind == "video" else (partial(_patches, stage, channel), many_pictures.nearest)
        sections += [partial(_with, part, many) for part in more]
    facts = [
        f"Model {talker.name}, {len(view.names)} motion numbers, {count} stages; AniTalker {__version__}",
        f"Of {Path(source).name}" + (f": {len(crops)} pictures" if crops else ""),
    ]
    with Report(folder, f"What the motion encoder sees: {Path(source).name}", facts) as report:
        for number, section in enumerate(sections, 1):
            section(case, report)
            if progress:
                progress("sections", number, len(sections))
        seconds = round(time.perf_counter() - started, 1)
    keys = [key for key, _ in report.sections]
    made = {"output": str(report.folder / PAGE), "kind": kind, "sections": keys, "pictures": len(report.pictures)}
    return {**made, "seconds": seconds, "model": talker.name, "groups": dict(zip(view.names, case.groups, strict=True))}


def _with(section: Callable, many: Many, case: Case, report: Report) -> None:
    section(case, many, report)


def _patches(stage: int | None, channel: int | None, case: Case, many: Many, report: Report) -> None:
    many_pictures.patches(case, many, report, stage, channel)


def _read_picture(talker: Talker, source: Path) -> tuple:
    return source, [], [], 0


def _read_folder(talker: Talker, source: Path) -> tuple:
    """The first face of each picture; pictures without one are left out."""
    files = sorted(file for file in source.iterdir() if file.suffix.lower() in SUFFIXES)[:PICTURES]
    crops, kept, finder = [], [], talker.finder()
    for file in files:
        try:
            pixels, found = portrait_file.find_portrait(file, finder)
        except InputError:
            continue
        if found:
            crops.append(talker.model.crop(pixels, found[0]).image)
            kept.append(file)
    if len(crops) < 2:
        raise InputError(f"folder {str(source)!r} has {len(crops)} pictures with a face; give a folder with 2 or more")
    return kept[0], crops, [file.stem[:14] for file in kept], 0


def _read_video(talker: Talker, source: Path) -> tuple:
    """Frames evenly over the clip, all cropped at the place of the first."""
    total = round(min(probe(source).seconds or LONGEST, LONGEST) * FPS)
    step, first = max(1, total // FRAMES), []

    def watched():
        for number, frame in enumerate(read_frames(source)):
            if number >= LONGEST * FPS:
                return
            if number % step == 0:
                if not first:
                    first.append(frame)
                yield frame

    crops = list(driving_video.crop_frames(watched(), talker.finder(), "largest", talker.model.crop))
    names = [f"{number * step / FPS:.2f} s" for number in range(len(crops))]
    if len(crops) < 3:
        raise InputError(f"video {str(source)!r} has {len(crops)} frames; give one of a second or more")
    return first[0], crops, names, step


READ = {"picture": _read_picture, "folder": _read_folder, "video": _read_video}
