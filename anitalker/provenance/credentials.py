"""Content credentials (C2PA): who made a file, with what, and whether it was altered since.

Each output carries a signed manifest: created by a trained algorithm, or a filmed video edited by one, by which model,
and when. A filmed video is named as the parent, with the credentials that it already had.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker import __version__
from anitalker.config import InputError
from anitalker.provenance.identity import SigningIdentity
from anitalker.provenance.source_types import CREATED, EDITED
from anitalker.weights.registry import sha256

if TYPE_CHECKING:
    import c2pa

GENERATOR_NAME = "AniTalker"
DETECTOR = "anitalker verify FILE: free, offline, part of AniTalker"
RENDER_ASSERTION = "org.anitalker.render"  # its data names model, weights and seed
SOFT_BINDING = "c2pa.soft-binding"  # the identifier that the watermark carries, too (C2PA specification 2.2, 18.10)
WATERMARK_NAME = "org.anitalker.watermark.3"  # its algorithm
AUDIO_MARK_NAME = "org.anitalker.sound.1"  # that of the mark in the sound
OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}  # settings of c2pa-python
MEDIA_TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".m4v": "video/mp4", ".avi": "video/avi"}
OTHER_MEDIA_TYPE = "application/octet-stream"  # of ingredients that cannot carry credentials
MEDIA_TYPES |= {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generator:
    """What generated a file: name of the model, SHA-256 of its weights (of two files joined by a plus), seed.

    ingredients: files that it was made of. The first is the filmed video that was edited; more are inputs to the edit.
    consent: who agreed to it, by the person file that speaks. identifier: of the file, as its watermark carries it.
    visible_label: language of the label in the picture; empty: there is none. inputs: files with credentials of their
    own that it was made from, such as the portrait; they are kept. marked_sound: whether the sound carries the
    identifier, too.
    """

    model: str
    weights: str = ""
    seed: int | None = None
    ingredients: tuple[Path, ...] = ()
    consent: str = ""
    identifier: str = ""
    visible_label: str = ""
    inputs: tuple[Path, ...] = ()
    marked_sound: bool = False


@dataclass(frozen=True)
class Credentials:
    """What the manifest of a file says.

    status: none, intact, altered or unreadable; generator: name and version of the program; source_type: IPTC digital
    source type; made: time, ISO 8601; origin: model, weights and seed; signer: names in its certificate; trusted:
    whether that is on a trust list; problems: codes of the validator; ingredients: names of the files that it was made
    of, the filmed one first; identifier: of the file; stamped: the time that a time-stamping authority signed.
    """

    status: str = "none"
    generator: str | None = None
    source_type: str | None = None
    made: str | None = None
    origin: dict | None = None
    signer: str | None = None
    trusted: bool = False
    problems: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()
    identifier: str | None = None
    stamped: str | None = None

    @property
    def ours(self) -> bool:
        """Whether the manifest says that AniTalker made the file."""
        return (self.generator or "").split(" ")[0] == GENERATOR_NAME


def sign_file(source: Path, target: Path, generator: Generator, identity: SigningIdentity, title: str) -> None:
    """Copy a video or picture of MEDIA_TYPES and add credentials that name `generator`; title: name of the final file.

    InputError where it cannot be signed with this identity.
    """
    import c2pa

    settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False, **OFFLINE}}
    authority = identity.timestamp_url.encode() or None
    facts = c2pa.C2paSignerInfo(identity.algorithm.encode(), identity.chain, identity.key, authority)
    signer = c2pa.Signer.from_info(facts)
    try:
        with open(source, "rb") as reader, open(target, "w+b") as writer:
            builder = c2pa.Builder(build_manifest(generator, title), c2pa.Context.from_dict(settings))
            for number, file in enumerate((*generator.ingredients, *generator.inputs)):
                _add_ingredient(builder, number, file, is_parent=number == 0 and bool(generator.ingredients))
            builder.sign(signer, MEDIA_TYPES[target.suffix.lower()], reader, writer)
    except c2pa.C2paError as error:
        if authority and "http" in str(error).lower():
            raise InputError(
                f"the time-stamping authority {identity.timestamp_url!r} does not answer as it should "
                f"({_shortened(error)}); give another one, or none"
            ) from None
        raise InputError(
            f"the credentials cannot be signed ({error}); check ANITALKER_CERTIFICATE, or give --no-marks"
        ) from None


def build_manifest(generator: Generator, title: str) -> dict:
    """Build the manifest of an output: created by a trained algorithm, when, and by which model.

    With ingredients: the first was opened and edited by that algorithm; the hashes (SHA-256) of all are named.
    """
    tool = {"name": GENERATOR_NAME, "version": __version__}
    when = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    done = {"when": when, "softwareAgent": tool}
    facts = {"model": generator.model, "weights_sha256": generator.weights, "seed": generator.seed, **tool}
    facts["detector"] = DETECTOR
    if generator.visible_label:
        facts["visible_label"] = generator.visible_label
    if generator.consent:
        facts["consent"] = generator.consent
    labels = [_ingredient_label(number) for number in range(len(generator.ingredients) + len(generator.inputs))]
    actions = [{"action": "c2pa.created", **done, "digitalSourceType": CREATED}]
    if labels and not generator.ingredients:
        actions[0]["parameters"] = {"ingredientIds": labels}
    if generator.ingredients:
        edited = {"action": "c2pa.edited", **done, "digitalSourceType": EDITED}
        if labels[1:]:
            edited["parameters"] = {"ingredientIds": labels[1:]}
        actions = [{"action": "c2pa.opened", **done, "parameters": {"ingredientIds": labels[:1]}}, edited]
        facts["ingredients"] = [{"title": file.name, "sha256": sha256(file)} for file in generator.ingredients]
    assertions = [{"label": "c2pa.actions", "data": {"actions": actions}}, {"label": RENDER_ASSERTION, "data": facts}]
    if generator.identifier:
        facts["identifier"] = generator.identifier
        block = {"scope": {}, "value": generator.identifier}
        names = [WATERMARK_NAME, *([AUDIO_MARK_NAME] if generator.marked_sound else [])]
        actions.append({"action": "c2pa.watermarked.bound", **done})
        assertions += [{"label": SOFT_BINDING, "data": {"alg": name, "blocks": [block]}} for name in names]
    return {"claim_generator_info": [tool], "title": title, "assertions": assertions}


def with_credentials(files: Iterable[str | os.PathLike]) -> tuple[Path, ...]:
    """Return those of some files that carry credentials, each once, damaged ones left out, and files that are gone."""
    paths = [path for path in dict.fromkeys(map(Path, files)) if path.is_file()]
    return tuple(path for path in paths if read_credentials(path).status in ("intact", "altered"))


def _add_ingredient(builder: c2pa.Builder, number: int, file: Path, is_parent: bool) -> None:
    """Name a file as an ingredient, with its credentials, validated as they are; the file is read piece by piece."""
    import c2pa

    relation = "parentOf" if is_parent else "inputTo"
    facts = {"title": file.name, "relationship": relation, "label": _ingredient_label(number)}
    try:
        with open(file, "rb") as stream:
            builder.add_ingredient(facts, MEDIA_TYPES.get(file.suffix.lower(), OTHER_MEDIA_TYPE), stream)
    except c2pa.C2paError as error:  # damaged credentials
        log.warning("the credentials of %s cannot be read (%s): it is named without them", file.name, error)
        builder.add_ingredient(facts, OTHER_MEDIA_TYPE, io.BytesIO())


def _ingredient_label(number: int) -> str:
    return f"ingredient-{number}"


def read_credentials(file: Path) -> Credentials:
    """Read the credentials of a picture or video file, without any access to the network."""
    import c2pa

    media_type = MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        return Credentials()
    try:
        with open(file, "rb") as stream:
            reader = c2pa.Reader.try_create(media_type, stream, None, c2pa.Context.from_dict({"verify": OFFLINE}))
            if reader is None:
                return Credentials()
            report = json.loads(reader.json())
    except c2pa.C2paError as error:
        return Credentials("unreadable", problems=(_shortened(error),))
    return _parse_report(report)


def _shortened(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _parse_report(report: dict) -> Credentials:
    """Convert the report of c2pa-python. A signer that is on no trust list does not make a file altered."""
    active = report["manifests"][report["active_manifest"]]
    tool = (active.get("claim_generator_info") or [{}])[0]
    results = report.get("validation_results", {}).get("activeManifest", {})
    problems = tuple(sorted({failure["code"] for failure in results.get("failure", [])}))
    # Of several of a label, as bindings of pixels and sound, the first counts.
    assertions = {entry["label"].split("__")[0]: entry["data"] for entry in reversed(active.get("assertions", []))}
    actions = next((data["actions"] for label, data in assertions.items() if label.startswith("c2pa.actions")), [])
    created = next((action for action in actions if action.get("digitalSourceType")), {})
    ingredients = sorted(active.get("ingredients", []), key=lambda entry: entry.get("relationship") != "parentOf")
    signature = active.get("signature_info") or {}
    return Credentials(
        "altered" if set(problems) - {"signingCredential.untrusted"} else "intact",
        " ".join(str(tool[key]) for key in ("name", "version") if key in tool) or None,
        created.get("digitalSourceType"),
        created.get("when"),
        assertions.get(RENDER_ASSERTION),
        ", ".join(signature[key] for key in ("common_name", "issuer") if signature.get(key)) or None,
        "signingCredential.untrusted" not in problems,
        problems,
        tuple(str(entry.get("title") or "without a name") for entry in ingredients),
        _bound_identifier(assertions.get(SOFT_BINDING)),
        signature.get("time"),
    )


def _bound_identifier(binding: object) -> str | None:
    """Return the identifier of a soft binding of ours; None of another one, or of none."""
    if not isinstance(binding, dict) or binding.get("alg") != WATERMARK_NAME or not binding.get("blocks"):
        return None
    return str(binding["blocks"][0].get("value"))
