"""Person files: a portrait, what its person's mouth and face look like, and how the person moves. Never trusted.

Letters: K references, P = 128 pixels, N = 468 landmarks, M = 20 motion numbers. A file is .safetensors: tensors, and in
its metadata a JSON config with the consent, the model that it was made for, and statistics.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anitalker.config import LANDMARKS, POSE_SIZE, InputError
from anitalker.files import existing_file, write_whole
from anitalker.models.base import PersonTraits
from anitalker.motion.manner import Manner

SUFFIX = ".safetensors"
KIND, FORMAT = "anitalker person", 1
MAX_BYTES = 6 * 10**6
MAX_REFERENCES = 8
MAX_CONFIG_CHARACTERS, MAX_CONSENT_CHARACTERS = 20_000, 200
PATCH = 128
MOTION = POSE_SIZE + 14
MAX_SIDE, MIN_SIDE = 4096, 64  # of the portrait, pixels
SIDE = 1080  # of a portrait that is stored, the shorter one
PORTRAIT_BYTES = 3 * 10**6
QUALITIES = (95, 90, 80, 70)  # of JPEG: the first at which the portrait has no more than PORTRAIT_BYTES
REMEDY = "make it again with anitalker tune"


@dataclass(frozen=True)
class PersonFile:
    """What a person file holds.

    portrait: uint8 [H,W,3]; traits: what models know of the person beside it; consent: who agreed; model: SHA-256 of
    the weights that it was made for; facts: the rest of its config: date, hashes of the videos, statistics.
    """

    portrait: np.ndarray
    traits: PersonTraits
    consent: str
    model: str
    facts: dict = field(default_factory=dict)


def is_person_file(path: object) -> bool:
    """Whether a path names a person file, by its suffix."""
    return isinstance(path, str | os.PathLike) and Path(path).suffix.lower() == SUFFIX


def check_consent(consent: str | None) -> str:
    """Return who agreed, as one line; InputError where nobody is named."""
    text = " ".join((consent or "").split())
    if not text:
        raise InputError('consent is missing; say who agreed to this avatar: --consent "NAME"')
    if len(text) > MAX_CONSENT_CHARACTERS or not text.isprintable():
        raise InputError(f"consent has {len(text)} letters; allowed are up to {MAX_CONSENT_CHARACTERS} printable ones")
    return text


def write_person(path: Path, person: PersonFile) -> None:
    """Write a person file, whole or not at all; InputError where it would be larger than MAX_BYTES."""
    from safetensors.torch import save_file

    traits, manner = person.traits, person.traits.manner
    tensors = {
        "portrait": torch.frombuffer(bytearray(_jpeg(person.portrait)), dtype=torch.uint8),
        "references.patches": traits.patches,
        "references.landmarks": traits.landmarks,
        "references.motion": traits.motion,
        "neutral": traits.neutral,
        "manner.rest": torch.zeros(MOTION) if manner.rest is None else manner.rest,
        **{f"mouth.{key}": value for key, value in traits.mouth.items()},
        **{f"lips.{key}": value for key, value in traits.lips.items()},
    }
    manners = {name: getattr(manner, name) for name in ("lips", "head", "blink_seconds")}
    config = {"kind": KIND, "format": FORMAT, "consent": person.consent, "model": person.model, "manner": manners}
    dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(partial: Path) -> None:
        save_file(dense, partial, {"config": json.dumps(config | {"facts": person.facts})})
        if partial.stat().st_size > MAX_BYTES:
            raise InputError(f"person file would have {partial.stat().st_size} bytes; allowed are {MAX_BYTES}")

    write_whole(path, write)


def read_person(path: str | os.PathLike) -> PersonFile:
    """Read a person file; nothing in it is executed. InputError, one line, for anything else."""
    file = existing_file(path, "person file")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"person file {str(path)!r} has {file.stat().st_size} bytes; allowed are {MAX_BYTES}")
    config, tensors = _open(file)
    try:
        consent, manners = check_consent(str(config["consent"])), dict(config["manner"])
        rest = tensors["manner.rest"]
        seconds = manners["blink_seconds"]
        manner = Manner(
            float(manners["lips"]), float(manners["head"]), None if seconds is None else float(seconds), rest
        )
        traits = PersonTraits(
            tensors["references.patches"],
            tensors["references.landmarks"],
            tensors["references.motion"],
            tensors["neutral"],
            manner.limited(),
            _below(tensors, "mouth."),
            _below(tensors, "lips."),
        )
        facts = config.get("facts")
        portrait = _pixels(tensors["portrait"].numpy().tobytes(), file)
        return PersonFile(portrait, traits, consent, str(config["model"]), facts if isinstance(facts, dict) else {})
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"person file {str(path)!r} is damaged ({type(error).__name__}: {error}); {REMEDY}") from None


def _open(file: Path) -> tuple[dict, dict[str, Tensor]]:
    """Config and tensors of a file, each of a known name, shape and type."""
    from safetensors import SafetensorError, safe_open

    name = repr(str(file))
    try:
        with safe_open(file, framework="pt") as stored:
            text = (stored.metadata() or {}).get("config", "")
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        line = " ".join(str(error).split())[:100]
        raise InputError(f"person file {name} is no safetensors file ({line}); {REMEDY}") from None
    try:
        config = json.loads(text) if len(text) <= MAX_CONFIG_CHARACTERS else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or config.get("kind") != KIND:
        raise InputError(
            f"{name} is no person file; give one that anitalker tune made, or a picture (a model goes after --model)"
        )
    if config.get("format") != FORMAT:
        raise InputError(f"person file {name} has format {config.get('format')!r}; known is {FORMAT}; {REMEDY}")
    for key, tensor in tensors.items():
        _check_tensor(name, key, tensor)
    counts = {len(tensors[key]) for key in tensors if key.startswith("references.")}
    if len(counts) != 1 or max(counts) > MAX_REFERENCES:
        raise InputError(f"person file {name} has {sorted(counts)} references; allowed are up to {MAX_REFERENCES}")
    return config, tensors


SHAPES = {  # None: any number
    "portrait": (torch.uint8, (None,)),
    "references.patches": (torch.uint8, (None, PATCH, PATCH, 3)),
    "references.landmarks": (torch.float32, (None, LANDMARKS, 3)),
    "references.motion": (torch.float32, (None, MOTION)),
    "neutral": (torch.float32, (LANDMARKS, 3)),
    "manner.rest": (torch.float32, (MOTION,)),
}


def _check_tensor(name: str, key: str, tensor: Tensor) -> None:
    """InputError for a tensor that a person file does not have; adapters are checked against the model's weights."""
    kind, shape = SHAPES.get(key, (None, ()))
    if kind is None:
        fits = key.split(".")[0] in ("mouth", "lips") and tensor.dtype in (torch.float16, torch.float32)
    else:
        alike = len(shape) == tensor.ndim and all(a in (None, b) for a, b in zip(shape, tensor.shape, strict=True))
        fits = tensor.dtype == kind and alike
    if not fits:
        came = f"{key[:60]!r} of {list(tensor.shape)[:6]} {tensor.dtype}"
        raise InputError(f"person file {name} holds {came}, which belongs to none; {REMEDY}")
    if tensor.is_floating_point() and not tensor.float().isfinite().all():
        raise InputError(f"person file {name} holds NaN or infinity in {key[:60]!r}; {REMEDY}")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _jpeg(picture: np.ndarray) -> bytes:
    """A picture uint8 [H,W,3] as JPEG of at most PORTRAIT_BYTES, in full colour resolution."""
    for quality in QUALITIES:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=0)
        if stream.tell() <= PORTRAIT_BYTES:
            break
    return stream.getvalue()


def as_stored(picture: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H,W,3], as a person file gives it back: its shorter side at most SIDE pixels, as JPEG."""
    height, width = picture.shape[:2]
    factor = SIDE / min(height, width)
    if factor < 1:
        sides = (round(width * factor), round(height * factor))
        picture = np.asarray(Image.fromarray(picture).resize(sides, Image.Resampling.LANCZOS))
    return _pixels(_jpeg(picture), Path("portrait"))


def _pixels(content: bytes, file: Path) -> np.ndarray:
    """The portrait, uint8 [H,W,3]."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
            if not MIN_SIDE <= min(picture.size) <= max(picture.size) <= MAX_SIDE:
                raise InputError(f"person file {str(file)!r} has a portrait of {picture.size} pixels; {REMEDY}")
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise InputError(f"person file {str(file)!r} has a damaged portrait; {REMEDY}") from None
