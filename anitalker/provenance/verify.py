"""Verify who made a file and whether it was altered, by its credentials, its marks and its metadata."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import numpy as np

from anitalker.config import InputError
from anitalker.files import existing_file
from anitalker.media.images import ANIMATED_SUFFIXES, read_animation, read_picture
from anitalker.media.video import Media, is_synthetic_comment, probe, read_audio, read_frames
from anitalker.provenance import aigc, audio_mark_search, watermark_search
from anitalker.provenance.credentials import Credentials, read_credentials
from anitalker.provenance.ledger import look_up
from anitalker.provenance.picture_metadata import read_gif_xmp
from anitalker.weights.registry import sha256

MAX_FRAMES = 64  # of a video that are searched for the watermark, spread over its length
UNSIGNED_SUFFIXES = (".webm",)  # which AniTalker writes, and which cannot carry credentials
MAX_FRAMES_PER_SECOND = 8  # of a short one


class Verdict(TypedDict):
    """Who made a file and whether it was altered, with what was read from it.

    made_by: "anitalker" or "unknown"; state: "intact" (the credentials fit the file), "altered" (they do not, or they
    are gone and a mark is still there) or "unknown"; credentials: fields of `credentials.Credentials`; watermark:
    fields of `watermark_search.Detection` and "false_alarm_below", the probability of a wrong detection; audio_mark:
    fields of `audio_mark_search.SoundDetection` and "false_alarm_below"; None where there is no sound that can be read;
    comment: of the metadata; aigc: fields of the metadata that China's standard asks for; identifier: of the file, 16
    hexadecimal digits; identifiers: the same by where it was read from: pixels, sound, credentials, metadata. They
    differ where marks of another file were put into this one; ledger: fields of `ledger.Entry` and "same_file", whether
    the hash is that of this file; None where nothing was found or asked.
    """

    file: str
    made_by: str
    state: str
    credentials: dict
    watermark: dict
    audio_mark: dict | None
    comment: str | None
    aigc: dict[str, str] | None
    identifier: str | None
    identifiers: dict[str, str | None]
    ledger: dict | None


class CheckedVerdict(Verdict, total=False):
    """A verdict with the checklist of a law: its name, and "rows", see `law.Row`."""

    law: dict


def verify(path: str | os.PathLike, ledger: str | os.PathLike | None = None) -> Verdict:
    """Judge a video, picture or sound file by its marks; InputError when it is none of them.

    ledger: file in which the identifier is looked up, see `ledger`.
    """
    file = existing_file(path, "file")
    media = _media(file)
    credentials, detection = read_credentials(file), watermark_search.detect(_frames(file, media))
    sound = _search_sound(file, media)
    comment, fields = (media.comment, aigc.parse_aigc(media.aigc)) if media else _picture_metadata(file)
    identifiers = {
        "pixels": detection.identifier,
        "sound": sound.identifier if sound else None,
        "credentials": credentials.identifier,
        "metadata": _identifier_of(fields),
    }
    identifier = _identifier(credentials, identifiers)
    entry = look_up(ledger, identifier) if ledger else None
    is_marked = detection.found or (sound is not None and sound.found)
    if credentials.status in ("intact", "altered") and credentials.ours:
        state = credentials.status
    elif file.suffix.lower() in UNSIGNED_SUFFIXES and is_synthetic_comment(comment):
        state = "unknown"
    else:
        state = "altered" if is_marked or credentials.status == "unreadable" else "unknown"
    return {
        "file": str(path),
        "made_by": "anitalker" if credentials.ours or is_marked or is_synthetic_comment(comment) else "unknown",
        "state": state,
        "credentials": asdict(credentials),
        "watermark": {
            **asdict(detection),
            "false_alarm_below": watermark_search.FALSE_ALARM_PROBABILITY,
        },
        "audio_mark": sound and {**asdict(sound), "false_alarm_below": audio_mark_search.FALSE_ALARM_PROBABILITY},
        "comment": comment or None,
        "aigc": fields,
        "identifier": identifier,
        "identifiers": identifiers,
        "ledger": {**asdict(entry), "same_file": sha256(file) == entry.sha256} if entry else None,
    }


def _identifier_of(fields: dict[str, str] | None) -> str | None:
    """Return the identifier in the metadata; None where another producer numbers its files otherwise."""
    number = (fields or {}).get("ProduceID", "")
    return number if re.fullmatch(r"[0-9a-f]{16}", number) else None


def _identifier(credentials: Credentials, identifiers: dict[str, str | None]) -> str | None:
    """Choose the identifier to trust: signed and intact, then the one of the pixels or the sound, then the others."""
    order = ["pixels", "sound", "credentials", "metadata"]
    if credentials.status == "intact":
        order.insert(0, "credentials")
    return next((identifiers[place] for place in order if identifiers[place]), None)


def _media(file: Path) -> Media | None:
    """Probe a video with ffmpeg; None for a picture, animated or not."""
    if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"):
        return None
    return probe(file, "file")


def _picture_metadata(file: Path) -> tuple[str | None, dict[str, str] | None]:
    """Read the comment and the XMP of a picture, as `marks.write_picture` writes them; None where it has none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            comment = picture.info.get("Comment", picture.info.get("comment"))
            packet = picture.info.get(aigc.XMP_KEYWORD, picture.info.get("xmp"))
            packet = read_gif_xmp(file) if picture.format == "GIF" else packet
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None, None
    if isinstance(comment, bytes):  # of a GIF
        comment = comment.decode("utf-8", "replace")
    return comment if isinstance(comment, str) else aigc.parse_comment(packet), aigc.parse_xmp(packet)


def _frames(file: Path, media: Media | None) -> Iterator[np.ndarray]:
    """Yield frames, uint8 [H,W,3], spread over a video or an animated picture, or the picture."""
    if media is None and file.suffix.lower() in ANIMATED_SUFFIXES:
        yield from read_animation(file, MAX_FRAMES, "file")
    elif media is None:
        yield read_picture(file, "file")
    elif media.video_codec:
        yield from read_frames(file, min(MAX_FRAMES_PER_SECOND, MAX_FRAMES / max(media.seconds or 0, 1)), "file")


def _search_sound(file: Path, media: Media | None) -> audio_mark_search.SoundDetection | None:
    """Search the sound of a file for its mark; None where there is none, or it cannot be read."""
    if media is None or media.audio_codec is None:
        return None
    try:
        return audio_mark_search.detect_sound(read_audio(file, what="file"))
    except InputError:  # a track without samples, or longer than recordings may be
        return None


def summary_lines(verdict: Verdict) -> list[str]:
    """Put the verdict in lines for people."""
    credentials, detection = verdict["credentials"], verdict["watermark"]
    maker = "AniTalker" if verdict["made_by"] == "anitalker" else "unknown"
    states = {
        "intact": "intact: as it was made",
        "altered": "altered: not as it was made",
        "unknown": "nothing tells whether it was altered",
    }
    place = f"{detection['scale']:.2f} pixels per cell{', mirrored' if detection['mirrored'] else ''}"
    presence = f"found ({place})" if detection["found"] else "not found"
    return [
        f"{verdict['file']}: made by {maker}; {states[verdict['state']]}",
        f"  credentials: {_describe_credentials(credentials)}",
        f"  watermark: {presence}, score {detection['score']:.1f}; a find needs {detection['threshold']:.1f}",
        f"  audio mark: {_describe_sound(verdict['audio_mark'])}",
        f"  comment: {verdict['comment'] or 'none'}",
        f"  identifier: {_describe_identifiers(verdict)}",
        *_describe_ledger(verdict["ledger"]),
    ]


def _describe_sound(detection: dict | None) -> str:
    if detection is None:
        return "no sound"
    place = "in the whole" if detection["seconds"] is None else f"at {detection['seconds']:.0f} s"
    presence = f"found ({place})" if detection["found"] else "not found"
    return f"{presence}, score {detection['score']:.1f}; a find needs {detection['threshold']:.1f}"


def _describe_ledger(entry: dict | None) -> list[str]:
    if entry is None:
        return []
    same = "this very file" if entry["same_file"] else "this file is a changed copy"
    return [f"  ledger: made {entry['made']} with model {entry['model']}, seed {entry['seed']}; {same}"]


def _describe_identifiers(verdict: Verdict) -> str:
    places = {place: value for place, value in verdict["identifiers"].items() if value}
    if len(set(places.values())) > 1:
        values = ", ".join(f"{value} in {place}" for place, value in places.items())
        return f"they differ: {values}; marks of another file may have been put into this one"
    return f"{verdict['identifier']} (from {', '.join(places)})" if places else "none"


def _describe_credentials(credentials: dict) -> str:
    if credentials["status"] == "none":
        return "none"
    if credentials["status"] == "unreadable":
        return f"damaged ({credentials['problems'][0]})"
    trust = "signer on a trust list" if credentials["trusted"] else "signer not on a trust list"
    signature = (
        "signature intact"
        if credentials["status"] == "intact"
        else f"do not fit the file ({', '.join(credentials['problems'])})"
    )
    kind = (credentials["source_type"] or "no source type").rsplit("/", 1)[-1]
    origin = credentials["origin"] or {}
    model = f", model {origin['model']}" if origin.get("model") else ""
    model += f", consent: {origin['consent']}" if origin.get("consent") else ""
    signer, generator, made = credentials["signer"], credentials["generator"], credentials["made"]
    source = f", from {', '.join(credentials['ingredients'])}" if credentials["ingredients"] else ""
    stamped = f" (stamped by an authority: {credentials['stamped']})" if credentials["stamped"] else ""
    return f"{signature}, {trust}: {signer}; {generator}, {kind}, {made}{stamped}{model}{source}"
