"""The report on a picture, a folder of pictures, or a video: reads the source and runs the sections for it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from anitalker import __version__
from anitalker.config import FPS, InputError
from anitalker.faces.crop import recrop
from anitalker.faces.detection import select_faces
from anitalker.files import existing_file
from anitalker.inspection import many_pictures, one_picture
from anitalker.inspection.many_pictures import PictureSet
from anitalker.inspection.one_picture import DEMO_SPEECH
from anitalker.inspection.report import PAGE, Report
from anitalker.inspection.shared_state import Inspection
from anitalker.inspection.views import view_of
from anitalker.media import portrait_file
from anitalker.media.images import PICTURE_SUFFIXES, NoPicture, read_picture
from anitalker.media.video import probe, read_frames
from anitalker.person.person_file import is_person_file
from anitalker.pipeline import Talker

MAX_PICTURES = 64  # of a folder
MAX_FRAMES = 100  # of a video, spread evenly over its first MAX_SECONDS
MAX_SECONDS = 60


def kind_of(source: str | Path) -> str:
    """The kind of a source: picture (a person file, too), folder or video; InputError if it does not exist."""
    if Path(source).is_dir():
        return "folder"
    file = existing_file(source, "source")
    if file.suffix.lower() not in PICTURE_SUFFIXES and not is_person_file(file):
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
    """Write the report on a model and a source into a folder -> facts for --json.

    A folder of pictures gets the sections of its first face, and sections on all of its pictures. A video gets the
    sections of its first frame, and sections on changes over time. speech: recording for the attention maps (None: the
    demo's, if it is installed). stage, channel: for the patches of a folder (None: every stage, its most selective
    channel). progress: called with (stage, done, total). InputError for an unusable source, folder or stage.
    """
    start, kind, view = time.perf_counter(), kind_of(source), view_of(talker.model)
    first, crops, names, step = READERS[kind](talker, Path(source))
    portrait = talker.portrait(first)
    recording = Path(speech) if speech else DEMO_SPEECH if DEMO_SPEECH.is_file() else None
    inspection = Inspection.of_face(talker, view, portrait.faces[0], recording)
    count = len(inspection.stage_names)
    if stage is not None and not 0 <= stage < count:
        raise InputError(f"stage is {stage}; allowed is 0 to {count - 1}: {', '.join(inspection.stage_names)}")
    sections: list[Callable[[Inspection, Report], None]] = list(one_picture.SECTIONS)
    if kind != "picture":
        pictures = PictureSet.read(inspection, np.stack(crops), names, step)
        folder_sections = (partial(_strongest_patches, stage, channel), many_pictures.nearest_neighbours)
        more = many_pictures.CLIP_SECTIONS if kind == "video" else folder_sections
        sections += [partial(_run_section, section, pictures) for section in more]
    lines = [
        f"Model {talker.name}, {len(view.names)} motion numbers, {count} stages; AniTalker {__version__}",
        f"Of {Path(source).name}" + (f": {len(crops)} pictures" if crops else ""),
    ]
    with Report(folder, f"What the motion encoder sees: {Path(source).name}", lines) as report:
        for number, section in enumerate(sections, 1):
            section(inspection, report)
            if progress:
                progress("sections", number, len(sections))
        seconds = round(time.perf_counter() - start, 1)
    keys = [key for key, _ in report.sections]
    facts = {"output": str(report.folder / PAGE), "kind": kind, "sections": keys, "pictures": len(report.pictures)}
    return {
        **facts,
        "seconds": seconds,
        "model": talker.name,
        "groups": dict(zip(view.names, inspection.groups, strict=True)),
    }


def _run_section(section: Callable, pictures: PictureSet, inspection: Inspection, report: Report) -> None:
    section(inspection, pictures, report)


def _strongest_patches(
    stage: int | None, channel: int | None, inspection: Inspection, pictures: PictureSet, report: Report
) -> None:
    many_pictures.strongest_patches(inspection, pictures, report, stage, channel)


def _read_picture(talker: Talker, source: Path) -> tuple:
    return source, [], [], 0


def _read_folder(talker: Talker, source: Path) -> tuple:
    """The first face of each picture; pictures without one are left out."""
    files = sorted(file for file in source.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)[:MAX_PICTURES]
    crops, kept, finder = [], [], talker.finder()
    for file in files:
        try:
            pixels, faces = portrait_file.find_portrait(file, finder)
        except InputError:
            continue
        if faces:
            crops.append(talker.model.crop(pixels, faces[0]).image)
            kept.append(file)
    if len(crops) < 2:
        raise InputError(f"folder {str(source)!r} has {len(crops)} pictures with a face; give a folder with 2 or more")
    return kept[0], crops, [file.stem[:14] for file in kept], 0


def _read_video(talker: Talker, source: Path) -> tuple:
    """Frames evenly over the clip, all cropped in the region of the face in the first frame that shows one."""
    total = round(min(probe(source).seconds or MAX_SECONDS, MAX_SECONDS) * FPS)
    step = max(1, total // MAX_FRAMES)
    start, first, faces = portrait_file.search_video(source, talker.finder())
    region = talker.model.crop(first, select_faces(faces, "largest", f"the video {str(source)!r}")[0])
    frames = itertools.islice(read_frames(source), start, start + MAX_SECONDS * FPS, step)
    crops = [recrop(frame, region).image for frame in frames]
    names = [f"{(start + number * step) / FPS:.2f} s" for number in range(len(crops))]
    if len(crops) < 3:
        raise InputError(f"video {str(source)!r} has {len(crops)} frames; give one of a second or more")
    return first, crops, names, step


READERS = {"picture": _read_picture, "folder": _read_folder, "video": _read_video}
