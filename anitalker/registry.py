"""The known weight files: hashes, licences, where they are on the model hub, and where they are looked for here."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from anitalker.config import InputError
from anitalker.weight_files import SUFFIXES

RECORD = "fetched.json"  # beside fetched files
SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints"  # beside pyproject.toml; absent in an installed wheel


@dataclass(frozen=True)
class Entry:
    """A known weight file."""

    file: str
    sha256: str  # empty: recorded when it is first fetched
    licence: str
    about: str
    model: bool = True  # False: a part of models
    size: int = 0  # bytes, of a file that can be fetched
    repository: str = ""  # where on the model hub; empty: shipped
    former: tuple[str, ...] = ()  # names that the same file had before
    url: str = ""  # of a file that is elsewhere than on the model hub

    @property
    def remote(self) -> bool:
        """Whether it can be fetched."""
        return bool(self.repository or self.url)


def _original(file: str, sha256: str, size: int, about: str, former: tuple[str, ...] = ()) -> Entry:
    """A file of the original AniTalker (Liu et al. 2024); hashes and sizes as its repository's LFS pointers say."""
    about = f"the original's {about}"
    return Entry(file, sha256, "Apache-2.0", about, False, size, "taocode/anitalker_ckpts", former)


REGISTRY = {
    "lite": Entry(
        "lite.safetensors",
        "64dd7fa969943957fb51b9bc57cb54bbdffbab5df645c647bc7a03840ea605cf",
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
        "identity verifier of scripts.evaluate; no model uses it",
        model=False,
    ),
    "motion_prior": Entry(
        "motion_prior.safetensors",
        "e5abff1bcf6f7b46002b652ea70636d30037836566beb1c4c92af4afeb54b2dc",
        "Apache-2.0",
        "how likely a motion is; is it a face that can be animated",
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
        former=("stage2_more_controllable_mfcc.ckpt",),
    ),
    "gfpgan": Entry(
        "GFPGANv1.4.pth",
        "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
        "Apache-2.0",
        "GFPGAN 1.4, for --enhance gfpgan (extra `enhance`)",
        model=False,
        url="https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.4.pth",
    ),
}


def folders() -> list[Path]:
    """Where registry files are looked for, first to last: ANITALKER_CHECKPOINTS, checkpoints/, the user's cache."""
    chosen = os.environ.get("ANITALKER_CHECKPOINTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anitalker"
    return [*([Path(chosen)] if chosen else []), SHIPPED, cache]


def here(entry: Entry) -> Path | None:
    """The first file of an entry in `folders`."""
    files = (folder / file for folder in folders() for file in (entry.file, *entry.former))
    return next((file for file in files if file.is_file()), None)


def find(name: str | os.PathLike) -> tuple[Path, Entry | None]:
    """A registry name, the name of a file in one of `folders` without its suffix (one that was converted, say), a file,
    or a folder with `lite.safetensors` -> path, and the entry whose hash must hold."""
    entry = REGISTRY.get(str(name))
    if entry is not None and (path := here(entry)):
        return path, entry
    path = Path(name)
    if path.name == str(name):
        files = (folder / f"{name}{suffix}" for folder in folders() for suffix in SUFFIXES)
        if own := next((file for file in files if file.is_file()), None):
            return own, None
    if entry is not None:
        looked = ", ".join(str(folder) for folder in folders())
        way = f"run `anitalker models fetch {name}`" if entry.remote else "set ANITALKER_CHECKPOINTS"
        raise InputError(f"model {str(name)!r} is not here: no {entry.file} in {looked}; {way}")
    if path.is_dir():
        path = path / REGISTRY["lite"].file
    if not path.is_file():
        known = ", ".join([*(key for key, one in REGISTRY.items() if one.model), "original"])
        raise InputError(f"model is {str(name)!r}; allowed are {known}, a weight file, or a folder that holds one")
    return path, None


def listing() -> list[dict]:
    """The known weights for `anitalker models`: name, file (None where it is not here), bytes, licence, about."""
    rows = []
    for name, entry in REGISTRY.items():
        try:
            file = find(name)[0]
        except InputError:
            file = None
        size = file.stat().st_size if file else entry.size
        facts = {key: getattr(entry, key) for key in ("sha256", "licence", "repository", "url", "about")}
        rows.append({"name": name, "file": str(file) if file else None, "bytes": size or None, **facts})
    return rows


def recorded(path: Path) -> str:
    """SHA-256 that was recorded when a file was fetched; empty if it was not."""
    try:
        return json.loads((path.parent / RECORD).read_text(encoding="utf-8"))[path.name]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def record(path: Path, url: str, digest: str) -> None:
    """Note beside a fetched file where it came from and its SHA-256, which must hold from now on."""
    notes, part = path.parent / RECORD, path.parent / f".{RECORD}.part"
    try:
        known = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known[path.name] = {"sha256": digest, "bytes": path.stat().st_size, "url": url}
    part.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(notes)


def verify(name: str | os.PathLike, path: Path, entry: Entry | None, digest: str = "") -> None:
    """InputError when a file has not the hash of its entry, or else the one recorded when it was fetched.

    digest: SHA-256 of the file, where it is known already.
    """
    wanted = entry and (entry.sha256 or recorded(path))
    if wanted and (digest or sha256(path)) != wanted:
        again = f"delete it and run `anitalker models fetch {name}`" if entry.remote else "restore the file"
        raise InputError(
            f"weights {str(path)!r} are not the registered {str(name)!r} (SHA-256 differs); "
            f"{again}, or give its path as the model to use it as it is"
        )


def verified(name: str | os.PathLike) -> Path:
    """`find`, and the hash must hold."""
    path, entry = find(name)
    verify(name, path, entry)
    return path


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
