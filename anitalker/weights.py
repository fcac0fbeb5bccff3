"""Weights: a registry with hashes, where to look, and strict loading into networks."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker import weight_files
from anitalker.config import (
    DecoderConfig,
    DetectorConfig,
    GeneratorConfig,
    InputError,
    LandmarkConfig,
    MotionSpaceConfig,
    SpeechConfig,
    from_dict,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from anitalker.decoder import Decoder
    from anitalker.face_network import FaceNetwork
    from anitalker.generator import MotionGenerator
    from anitalker.motion_space import MotionSpace

MODEL_PARTS = ("motion_space", "decoder", "generator")
LARGEST_SIZE = 65_536  # of any number in a network's config: a forged one must not eat the memory
SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints"  # beside pyproject.toml; absent in an installed wheel


@dataclass(frozen=True)
class Entry:
    """A known weight file."""

    file: str
    sha256: str
    licence: str
    about: str
    model: bool = True  # False: a part that every model uses


REGISTRY = {
    "lite": Entry(
        "lite.safetensors",
        "c4bab1e63d47cb7edecc7fe4378ae4c65dd081ad14dd73552430108742173cf8",
        "Apache-2.0",
        "our small model: motion space, decoder, generator",
    ),
    "face": Entry(
        "face.safetensors",
        "58c7a63ed9fb0e59099bd3b3f0fae8ccf97788578d0ee468011f5af1881f9009",
        "Apache-2.0",
        "face detector and 468 landmarks",
        model=False,
    ),
    "landmarks68": Entry(
        "landmarks68.safetensors",
        "32b2ed89a56ff6c0a6be2ae9ec615b351685d2a2666e645a32c7715796590e46",
        "Apache-2.0",
        "68 points of face-alignment -> 468",
        model=False,
    ),
}


@dataclass(frozen=True)
class Networks:
    """One model, in float32 on the CPU, ready to be moved."""

    motion_space: MotionSpace
    decoder: Decoder
    generator: MotionGenerator
    speech: nn.Module
    name: str


def folders() -> list[Path]:
    """Where registry files are looked for, first to last: ANITALKER_CHECKPOINTS, checkpoints/, the user's cache."""
    chosen = os.environ.get("ANITALKER_CHECKPOINTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anitalker"
    return [*([Path(chosen)] if chosen else []), SHIPPED, cache]


def find(name: str | os.PathLike) -> tuple[Path, Entry | None]:
    """A registry name, a file or a folder with `lite.safetensors` -> path, and the entry whose hash must hold."""
    if (entry := REGISTRY.get(str(name))) is not None:
        for folder in folders():
            if (folder / entry.file).is_file():
                return folder / entry.file, entry
        looked = ", ".join(str(folder) for folder in folders())
        raise InputError(f"model {str(name)!r} is not here: no {entry.file} in {looked}; set ANITALKER_CHECKPOINTS")
    path = Path(name)
    if path.is_dir():
        path = path / REGISTRY["lite"].file
    if not path.is_file():
        known = ", ".join(key for key, entry in REGISTRY.items() if entry.model)
        raise InputError(f"model is {str(name)!r}; allowed are {known}, a weight file, or a folder that holds one")
    return path, None


def listing() -> list[dict]:
    """The known models for `anitalker models`: name, file (None where it is not here), licence, about."""
    rows = []
    for name, entry in REGISTRY.items():
        here = [folder / entry.file for folder in folders() if (folder / entry.file).is_file()]
        file = str(here[0]) if here else None
        rows.append(
            {"name": name, "file": file, "sha256": entry.sha256, "licence": entry.licence, "about": entry.about}
        )
    return rows


def read(name: str | os.PathLike) -> tuple[dict, dict[str, Tensor]]:
    """Config and float32 tensors of a registry name, file or folder. Nothing in the file is ever executed."""
    path, entry = find(name)
    if entry is not None and sha256(path) != entry.sha256:
        raise InputError(
            f"weights {str(path)!r} are not the registered {str(name)!r} (SHA-256 differs); "
            "restore the file, or give its path as the model to use it as it is"
        )
    config, tensors = weight_files.read(path)
    if config is None:
        raise InputError(f"weights {str(path)!r} carry no config; make them with scripts.export")
    weight_files.check_finite(path, tensors)
    return config, {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load_model(name: str | os.PathLike) -> Networks:
    """The networks of a model, strictly loaded; InputError names what is missing, unknown or of a wrong shape."""
    from encoders.speech import SpeechFeatures

    config, tensors = read(name)
    modules = build(config, MODEL_PARTS, str(name))
    fill(modules, tensors, str(name))
    speech = SpeechFeatures(**vars(_config(SpeechConfig, config, "speech", name)))
    return Networks(**modules, speech=speech, name=Path(name).stem)


def load_face(name: str | os.PathLike = "face") -> FaceNetwork:
    """The face network, strictly loaded, in evaluation mode."""
    from anitalker.face_network import FaceNetwork

    config, tensors = read(name)
    kinds = {"detector": DetectorConfig, "landmarks": LandmarkConfig}
    network = FaceNetwork(**{part: _config(kind, config, part, name) for part, kind in kinds.items()})
    fill({part: getattr(network, part) for part in kinds}, tensors, str(name))
    return network.eval()


def build(config: dict, parts: tuple[str, ...], name: str) -> dict[str, nn.Module]:
    """Untrained networks of a model from the config that travels with its weights, by part."""
    from anitalker.decoder import Decoder
    from anitalker.generator import MotionGenerator
    from anitalker.motion_space import MotionSpace

    kinds = {
        "motion_space": (MotionSpace, MotionSpaceConfig),
        "decoder": (Decoder, DecoderConfig),
        "generator": (MotionGenerator, GeneratorConfig),
    }
    return {part: kinds[part][0](_config(kinds[part][1], config, part, name)) for part in parts}


def fill(modules: dict[str, nn.Module], tensors: dict[str, Tensor], name: str) -> None:
    """Load "<module>.<key>" tensors into modules; every key must be there, known and of its shape."""
    expected = {
        f"{part}.{key}": tensor for part, module in modules.items() for key, tensor in module.state_dict().items()
    }
    wrong = [
        f"{key} is {list(tensors[key].shape)} instead of {list(expected[key].shape)}"
        for key in expected
        if key in tensors and tensors[key].shape != expected[key].shape
    ]
    problems = [
        f"{kind} {_some(keys)}"
        for kind, keys in (
            ("missing:", sorted(set(expected) - set(tensors))),
            ("unknown:", sorted(set(tensors) - set(expected))),
            ("wrong shape:", wrong),
        )
        if keys
    ]
    if problems:
        raise InputError(f"weights {name!r} do not fit their network; {'; '.join(problems)}; export them again")
    for part, module in modules.items():
        own = {key.removeprefix(f"{part}."): tensor for key, tensor in tensors.items() if key.startswith(f"{part}.")}
        module.load_state_dict(own)
        module.eval().requires_grad_(False)


def _some(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _config(kind: type, config: dict, part: str, name: str | os.PathLike):
    if not isinstance(config.get(part), dict):
        raise InputError(f"weights {str(name)!r} have no config of {part!r}; make them with scripts.export")
    _check_sizes(config[part], name)
    try:
        return from_dict(kind, config[part])
    except (TypeError, ValueError) as error:
        raise InputError(f"weights {str(name)!r}: config of {part!r} is wrong ({error}); export them again") from None


def _check_sizes(value: object, name: str | os.PathLike) -> None:
    """Refuse numbers that would build a network larger than any file of ours."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for item in inside:
        _check_sizes(item, name)
    if isinstance(value, int | float) and not abs(value) <= LARGEST_SIZE:
        raise InputError(f"weights {str(name)!r} have {value} in their config; allowed is up to {LARGEST_SIZE}")
