"""Who made a file, and is it as it was made? Read from its credentials, its pixels and its metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from anitalker.files import existing_file
from anitalker.media.images import read_picture
from anitalker.media.video import SYNTHETIC, Media, probe, read_frames
from anitalker.provenance import watermark
from anitalker.provenance.credentials import read_credentials

LOOKS = 64  # frames that the search for the watermark sees, spread over the whole file
DENSEST = 8  # of them per second, at most


def verify(path: str | os.PathLike) -> dict:
    """Verdict on a video or picture file as plain JSON types; InputError when it is neither.

    made_by: "anitalker" or "unknown"; state: "intact" (the credentials fit the file), "altered" (they do not, or they
    are gone and the watermark is still there) or "unknown"; what was read stands beside them.
    """
    file = existing_file(path, "file")
    media = _media(file)
    credentials, mark = read_credentials(file), watermark.find(_frames(file, media))
    comment = (media and media.comment) or None
    tagged = bool(comment and comment.startswith(SYNTHETIC.rsplit(" ", 1)[0]))
    if credentials.status in ("intact", "altered") and credentials.ours:
        state = credentials.status
    else:
        state = "altered" if mark.found or credentials.status == "unreadable" else "unknown"
    return {
        "file": str(path),
        "made_by": "anitalker" if credentials.ours or mark.found or tagged else "unknown",
        "state": state,
        "credentials": asdict(credentials),
        "watermark": {**asdict(mark), "threshold": watermark.FOUND, "false_alarm_below": watermark.FALSE_ALARM},
        "comment": comment,
    }


def _media(file: Path) -> Media | None:
    """What ffmpeg says of it; None for a still picture."""
    if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"):
        return None
    return probe(file, "file")


def _frames(file: Path, media: Media | None) -> Iterator[np.ndarray]:
    """Frames spread over a video, or the picture."""
    if media is None:
        yield read_picture(file, "file")
    elif media.video_codec:
        yield from read_frames(file, min(DENSEST, LOOKS / max(media.seconds or 0, 1)), "file")


def words(found: dict) -> list[str]:
    """The verdict in lines for people."""
    credentials, mark = found["credentials"], found["watermark"]
    maker = "AniTalker" if found["made_by"] == "anitalker" else "unknown"
    states = {
        "intact": "intact: as it was made",
        "altered": "altered: not as it was made",
        "unknown": "nothing tells whether it was altered",
    }
    place = f"{mark['scale']:.2f} pixels per cell{', mirrored' if mark['mirrored'] else ''}"
    seen = f"found ({place})" if mark["found"] else "not found"
    return [
        f"{found['file']}: made by {maker}; {states[found['state']]}",
        f"  credentials: {_credentials(credentials)}",
        f"  watermark: {seen}, score {mark['score']:.1f}; a find needs {mark['threshold']:.1f}",
        f"  comment: {found['comment'] or 'none'}",
    ]


def _credentials(read: dict) -> str:
    if read["status"] == "none":
        return "none"
    if read["status"] == "unreadable":
        return f"damaged ({read['problems'][0]})"
    trust = "signer on a trust list" if read["trusted"] else "signer not on a trust list"
    signature = (
        "signature intact" if read["status"] == "intact" else f"do not fit the file ({', '.join(read['problems'])})"
    )
    kind = (read["source_type"] or "no source type").rsplit("/", 1)[-1]
    origin = read["origin"] or {}
    model = f", model {origin['model']}" if origin.get("model") else ""
    return f"{signature}, {trust}: {read['signer']}; {read['generator']}, {kind}, {read['made']}{model}"
