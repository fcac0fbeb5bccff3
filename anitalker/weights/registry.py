"""The known weight files: their hashes and licences, where they are published, and where they are on this machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from anitalker.config import InputError
from anitalker.weights.tensor_io import SUFFIXES

PACKAGE = Path(__file__).resolve().parents[1]
# The shipped weights: inside the package in a wheel, beside it in a checkout.
SHIPPED_FOLDER = next(
    (folder for folder in (PACKAGE / "checkpoints", PACKAGE.parent / "checkpoints") if folder.is_dir()), PACKAGE
)


@dataclass(frozen=True)
class Entry:
    """A known weight file. It is shipped with the checkout, or published in a hub repository or at a URL."""

    file: str
    sha256: str
    licence: str
    description: str
    model: bool = True  # False: a component that models load
    size: int = 0  # bytes; given for every published file
    repository: str = ""  # on the model hub
    former_names: tuple[str, ...] = ()  # of the same file
    url: str = ""  # where it is published, if not on the model hub

    @property
    def published(self) -> bool:
        """Whether `anitalker models fetch` can download it."""
        return bool(self.repository or self.url)


def _original(file: str, sha256: str, size: int, description: str, former_names: tuple[str, ...] = ()) -> Entry:
    """Make the entry of a file of the original AniTalker (Liu et al. 2024); hash and size are of its LFS pointer."""
    description = f"the original's {description}"
    return Entry(file, sha256, "Apache-2.0", description, False, size, "taocode/anitalker_ckpts", former_names)


REGISTRY = {
    "lite": Entry(
        "lite.safetensors",
        "a9f9043837547fcbf00213714fa9107bf4c182214997fa03b6462736f8818188",
        "Apache-2.0",
        "our small model: motion space, decoder, generator",
    ),
    "face": Entry(
        "face.safetensors",
        "46ca206a8573530bdefa53dabe41b326e001f0e0bf5ad30faa6265831b5e5ae7",
        "Apache-2.0",
        "face detector and 468 landmarks",
        model=False,
    ),
    "iris": Entry(
        "iris.safetensors",
        "9ea66b2af35d4d530f7e51507a5377ab46590d0fb461d2ea49aafdb7bfc0af74",
        "Apache-2.0",
        "where a portrait's irises are, for --gaze",
        model=False,
    ),
    "landmarks68": Entry(
        "landmarks68.safetensors",
        "32b2ed89a56ff6c0a6be2ae9ec615b351685d2a2666e645a32c7715796590e46",
        "Apache-2.0",
        "68 points of face-alignment -> 468",
        model=False,
    ),
    "verifier": Entry(
        "verifier.safetensors",
        "cad31a62c1ba713a3e20e70b6c930fa3742e566fd182d99d788134a24a88233a",
        "Apache-2.0",
        "identity verifier: whose face it is in videos to dub, and in scripts.evaluate",
        model=False,
    ),
    "matte": Entry(
        "matte.safetensors",
        "0f7978c5ebeda9e1e535824144e8e924ceaef3fc7581f3b24ecd69b8d4778c70",
        "Apache-2.0",
        "mattes of portraits, for other backgrounds",
        model=False,
    ),
    "sync_judge": Entry(
        "sync_judge.safetensors",
        "714be6f6efb3d30a771354cabf7edb634bef4b89390c8f4ca910694404751099",
        "Apache-2.0",
        "sync judge of scripts.evaluate; no model uses it",
        model=False,
    ),
    "motion_prior": Entry(
        "motion_prior.safetensors",
        "e5abff1bcf6f7b46002b652ea70636d30037836566beb1c4c92af4afeb54b2dc",
        "Apache-2.0",
        "how likely a motion is, and whether a face can be animated",
        model=False,
    ),
    "stage1": _original(
        "stage1.ckpt",
        "cb07be497b8c3e6c32a0b6f960d958a1e03d3ee82982f6f1e7bc972077d3f36f",
        187_780_891,
        "stage one: encoder and decoder",
    ),
    "hubert_audio_only": _original(
        "stage2_audio_only_hubert.ckpt",
        "7b9c6c027ff8bfc2b9ab2531d68eb52d9c2e89bbde67cea271ff67a89c2a436e",
        342_029_570,
        "stage two: HuBERT, no controls; its authors' recommendation",
    ),
    "hubert_pose_only": _original(
        "stage2_pose_only_hubert.ckpt",
        "b0e18c9cb2c2f6c3a31aa498c4871cea3f70bed5d24165537b7e044784102ed0",
        347_857_390,
        "stage two: HuBERT, head pose",
    ),
    "hubert_full_control": _original(
        "stage2_full_control_hubert.ckpt",
        "cf5783a946f69eaf5ec3baa31677838c7af8bbdd5986258e070326d962125a2b",
        359_493_190,
        "stage two: HuBERT, head pose, location, scale",
    ),
    "mfcc_pose_only": _original(
        "stage2_pose_only_mfcc.ckpt",
        "c0c27b3e4d3282f4a62ed1ab1e3bb983004d0b39238c66135973874101f1f459",
        237_213_440,
        "stage two: MFCC, head pose",
    ),
    "mfcc_full_control": _original(
        "stage2_full_control_mfcc.ckpt",
        "6e6746d2e50def9cda65f96edf748ac158c5a8dc3743c86584381dd8e760a177",
        248_849_176,
        "stage two: MFCC, head pose, location, scale",
        former_names=("stage2_more_controllable_mfcc.ckpt",),
    ),
    "gfpgan": Entry(
        "GFPGANv1.4.pth",
        "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
        "Apache-2.0",
        "GFPGAN 1.4, for --enhance gfpgan (extra `enhance`)",
        model=False,
        size=348_632_874,
        url="https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.4.pth",
    ),
}


def search_folders() -> list[Path]:
    """Return the folders where weight files are searched, in order: ANITALKER_CHECKPOINTS, checkpoints/, the cache."""
    chosen = os.environ.get("ANITALKER_CHECKPOINTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anitalker"
    return [*([Path(chosen)] if chosen else []), SHIPPED_FOLDER, cache]


def locate(entry: Entry) -> Path | None:
    """Return the first file in `search_folders` with the name of the entry, or a former one; None if there is none."""
    candidates = (folder / file for folder in search_folders() for file in (entry.file, *entry.former_names))
    return next((path for path in candidates if path.is_file()), None)


def resolve(name: str | os.PathLike) -> tuple[Path, Entry | None]:
    """Return the file of a model name, and the registry entry whose hash it must have (None: any content is allowed).

    name: a registry name; the name, without suffix, of a file in one of `search_folders` (a converted file, say); a
    path to a weight file; or a folder that holds `lite.safetensors`. InputError if there is no such file.
    """
    entry = REGISTRY.get(str(name))
    if entry is not None and (path := locate(entry)):
        return path, entry
    path = Path(name)
    if path.name == str(name):
        candidates = (folder / f"{name}{suffix}" for folder in search_folders() for suffix in SUFFIXES)
        if unregistered := next((file for file in candidates if file.is_file()), None):
            return unregistered, None
    if entry is not None:
        searched = ", ".join(str(folder) for folder in search_folders())
        remedy = f"run `anitalker models fetch {name}`" if entry.published else "set ANITALKER_CHECKPOINTS"
        raise InputError(f"model {str(name)!r} is not here: no {entry.file} in {searched}; {remedy}")
    if path.is_dir():
        path = path / REGISTRY["lite"].file
    if not path.is_file():
        known = ", ".join([*(key for key, entry in REGISTRY.items() if entry.model), "original"])
        raise InputError(f"model is {str(name)!r}; allowed are {known}, a weight file, or a folder that holds one")
    return path, None


class WeightFacts(TypedDict):
    """A known weight file; file: its path, None if it is not on this machine; bytes: None if unknown; url, repository:
    where it is published, empty if it is not."""

    name: str
    file: str | None
    bytes: int | None
    sha256: str
    licence: str
    repository: str
    url: str
    about: str


def list_weights() -> list[WeightFacts]:
    """List the known weight files."""
    rows: list[WeightFacts] = []
    for name, entry in REGISTRY.items():
        try:
            file = resolve(name)[0]
        except InputError:
            file = None
        size = file.stat().st_size if file else entry.size
        rows.append(
            {
                "name": name,
                "file": str(file) if file else None,
                "bytes": size or None,
                "sha256": entry.sha256,
                "licence": entry.licence,
                "repository": entry.repository,
                "url": entry.url,
                "about": entry.description,
            }
        )
    return rows


def verify(name: str | os.PathLike, path: Path, entry: Entry | None, digest: str = "") -> None:
    """Raise InputError if a file does not have the hash of its entry. Without an entry nothing is checked.

    digest: SHA-256 of the file, if it is known already.
    """
    if entry is not None and (digest or sha256(path)) != entry.sha256:
        remedy = f"delete it and run `anitalker models fetch {name}`" if entry.published else "restore the file"
        raise InputError(
            f"weights {str(path)!r} are not the registered {str(name)!r} (SHA-256 differs); "
            f"{remedy}, or give its path as the model to use it as it is"
        )


def resolve_verified(name: str | os.PathLike) -> Path:
    """Resolve a model name and verify the hash of its file; return the path."""
    path, entry = resolve(name)
    verify(name, path, entry)
    return path


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, as a hex digest."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
