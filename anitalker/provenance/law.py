"""Checklists: what three laws ask of a synthetic video or picture, and what a file has of it, byte by byte.

Clauses and their wording follow secondary sources of November 2026. This is no legal advice.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Literal, TypedDict

from anitalker.provenance.source_types import CREATED, EDITED
from anitalker.provenance.verify import Verdict

LAWS = {
    "eu": "EU AI Act, Article 50, with the Code of Practice of June 2026",
    "cn": "China: Measures for labelling of September 2025, with GB 45438-2025",
    "ca": "California: Business and Professions Code 22757 (SB 942, AB 853)",
}
# has, lacks; optional: not there, and the law leaves it open; explained: nothing that the maker of a file could put
# into it.
State = Literal["has", "lacks", "optional", "explained"]
LICENCE = "for providers with over 1,000,000 users a month: their contracts"
HOSTS = "for platforms with systems to download: this one writes all of (b) unless its user says --no-marks"
PROPAGATOR = "whoever distributes the file writes its own name and number"


class Row(TypedDict):
    """A line of a checklist.

    clause: of the law; asks: what it asks for; value: what the file has, or why not; read_from: place in the file, with
    the numbers of its first byte and of the byte after its last one, or the pixels.
    """

    clause: str
    asks: str
    state: State
    value: str
    read_from: str


def checklist(law: str, verdict: Verdict) -> list[Row]:
    """Build the checklist of one of LAWS for a file that was verified."""
    return {"eu": _eu, "cn": _cn, "ca": _ca}[law](verdict)


def checklist_lines(law: str, rows: list[Row]) -> list[str]:
    """Put a checklist in lines for people."""
    lacking = sum(row["state"] == "lacks" for row in rows)
    result = "nothing is lacking" if not lacking else f"{lacking} of {len(rows)} are lacking"
    lines = [f"{LAWS[law]}: {result} (no legal advice)"]
    for row in rows:
        source = f" [{row['read_from']}]" if row["read_from"] else ""
        lines.append(f"  {row['state']:<9} {row['clause']}: {row['asks']}: {row['value']}{source}")
    return lines


def _eu(verdict: Verdict) -> list[Row]:
    credentials, identifiers = verdict["credentials"], verdict["identifiers"]
    edited = credentials["source_type"] == EDITED
    kept = ", ".join(credentials["ingredients"])
    shared = identifiers["pixels"] if identifiers["pixels"] == identifiers["credentials"] else None
    return [
        _row("50(2)", "marked as synthetic, machine-readable", _kind(verdict), _at(verdict, "c2pa.actions")),
        _row("Code 1.1.1", "signed metadata", _signed(verdict), _at(verdict, "c2pa.signature")),
        _row("Code 1.1.1", "a trusted time stamp", credentials["stamped"], _at(verdict, "sigTst2", "sigTst")),
        _row("Code 1.1.2", "an imperceptible watermark", _watermark(verdict), "pixels"),
        _row("Code 1.1.2", "an inaudible mark of a synthetic voice", *_sound(verdict), missing="optional"),
        _row("Code 1.1.2", "one identifier in both layers", shared, f"pixels; {_at(verdict, 'c2pa.soft-binding')}"),
        _row("Code 1.1.3", "a log", (verdict["ledger"] or {}).get("made"), "ledger", missing="optional"),
        _row(
            "Code 1.2",
            "marks of inputs are kept",
            kept or (None if edited else "no filmed video went into it"),
            _at(verdict, "c2pa.ingredient") if kept else "",
        ),
        _row(
            "Code, detector", "free, and the file points to it", _origin(verdict, "detector"), _at(verdict, "detector")
        ),
        _row("50(4)", "a visible disclosure by who publishes deepfakes", *_visible(verdict), missing="optional"),
    ]


def _cn(verdict: Verdict) -> list[Row]:
    fields, place = verdict["aigc"] or {}, _at(verdict, '"ContentProducer"', "ContentProducer")
    key = None if not fields else f"Label {fields['Label']}"
    return [
        _row("GB 45438-2025, 5 and annex E", "implicit label: key AIGC in the metadata", key, _at(verdict, "AIGC")),
        _row("annex E", "ContentProducer", fields.get("ContentProducer"), place),
        _row("annex E", "ProduceID", fields.get("ProduceID"), _at(verdict, '"ProduceID"', "ProduceID")),
        _row("annex E", "ContentPropagator, PropagateID", _propagator(fields), place, PROPAGATOR, "explained"),
        _row("GB 45438-2025, 4", "explicit label in the picture, 5% of the short side", *_visible(verdict, words=True)),
    ]


def _ca(verdict: Verdict) -> list[Row]:
    credentials, tool = verdict["credentials"], _at(verdict, "claim_generator_info")
    producer = (verdict["aigc"] or {}).get("ContentProducer") or credentials["generator"]
    return [
        _row("22757.3(b)(1)(A)", "name of the provider", producer, _at(verdict, "ContentProducer")),
        _row("22757.3(b)(1)(B)", "name and version of the system", credentials["generator"], tool),
        _row("22757.3(b)(1)(C)", "time and date", credentials["made"], _at(verdict, "c2pa.actions")),
        _row("22757.3(b)(1)(D)", "a unique identifier", verdict["identifier"], _at(verdict, "c2pa.soft-binding")),
        _row(
            "22757.3(b)(2), 22757.2(a)",
            "a free tool detects it",
            _origin(verdict, "detector"),
            _at(verdict, "detector"),
        ),
        _row("22757.3(b)(3)", "a widely accepted industry standard", _signed(verdict), _at(verdict, "c2pa.signature")),
        _row("22757.3(b)(4)", "hard to remove", _watermark(verdict), "pixels"),
        _row("22757.3(a)", "a visible disclosure, at the user's choice", *_visible(verdict), missing="optional"),
        _row("22757.3(c)(1)", "licences that keep (b)", None, "", LICENCE, "explained"),
        _row("22757.3.2, from January 2027", "hosts offer only systems that do this", None, "", HOSTS, "explained"),
    ]


def _row(
    clause: str, asks: str, value: str | None, place: str, without: str = "not in the file", missing: State = "lacks"
) -> Row:
    state: State = "has" if value else missing
    return {
        "clause": clause,
        "asks": asks,
        "state": state,
        "value": value or without,
        "read_from": place if value else "",
    }


def _kind(verdict: Verdict) -> str | None:
    source_type = verdict["credentials"]["source_type"]
    return source_type.rsplit("/", 1)[-1] if source_type in (CREATED, EDITED) else None


def _signed(verdict: Verdict) -> str | None:
    credentials = verdict["credentials"]
    return f"C2PA, intact, by {credentials['signer']}" if credentials["status"] == "intact" else None


def _watermark(verdict: Verdict) -> str | None:
    detection = verdict["watermark"]
    return f"found, score {detection['score']:.1f}" if detection["found"] else None


def _sound(verdict: Verdict) -> tuple[str | None, str, str]:
    """The mark in the sound, where it was read from, and what it means that there is none."""
    detection = verdict["audio_mark"]
    value = f"found, score {detection['score']:.1f}" if detection and detection["found"] else None
    return value, "sound", "none was found; recorded voices have none"


def _origin(verdict: Verdict, name: str) -> str | None:
    return (verdict["credentials"]["origin"] or {}).get(name)


def _visible(verdict: Verdict, words: bool = False) -> tuple[str | None, str, str]:
    """The visible label as the credentials name it, where that stands, and what to do where it is missing.

    words: whether it has to be words, not the icon.
    """
    look, _, seconds = (_origin(verdict, "visible_label") or "").partition(" for ")
    if words and look == "icon":
        return None, "", "it is an icon; render with --label-style words"
    kind = "icon" if look == "icon" else f"words, language {look}"
    value = f"{kind}, in {f'the frames of the first {seconds}' if seconds else 'every frame'}" if look else None
    return value, _at(verdict, "visible_label"), "none is recorded; render with --label"


def _propagator(fields: dict[str, str]) -> str | None:
    values = [fields.get(name, "") for name in ("ContentPropagator", "PropagateID")]
    return ", ".join(values) if all(values) else None


def _at(verdict: Verdict, *texts: str) -> str:
    """Name the bytes of the file where one of some texts stands; empty where none does."""
    file = Path(verdict["file"])
    for text in texts:
        start = _find(file, text.encode())
        if start >= 0:
            return f"{text.strip(chr(34))}: bytes {start} to {start + len(text.encode())}"
    return ""


def _find(file: Path, text: bytes) -> int:
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(text)
