"""Weight files: named tensors from .safetensors, .pt and .ckpt, never code; and writing them whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
import uuid
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.config import InputError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pt", ".ckpt", ".pth")
WRAPPERS = ("state_dict", "params_ema", "params")  # what others put their tensors into
LARGEST_FILE = 8 * 2**30  # bytes
LARGEST_SIZE = 65_536  # of any number in a network's config: a forged one must not eat the memory
LFS = b"version https://git-lfs"  # what a clone without Git LFS has in the place of a large file


def read(path: Path) -> tuple[dict | None, dict[str, Tensor]]:
    """Config (None where the file carries none) and tensors by name, as they are stored.

    Where the format allows it the tensors are views of the mapped file: those that are not used cost no memory.
    Nothing in the file is executed; a pickle that names any code is refused before it runs.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"weights {str(path)!r} end in {path.suffix!r}; allowed are {', '.join(SUFFIXES)}")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise InputError(f"weights {str(path)!r} are {size} bytes; allowed are {LARGEST_FILE}")
    with open(path, "rb") as file:
        if file.read(len(LFS)) == LFS:
            raise InputError(
                f"weights {str(path)!r} are a Git LFS pointer, not the file; run git lfs pull in its folder"
            )
    config, tensors = (_safetensors if path.suffix.lower() == ".safetensors" else _pickled)(path)
    for name, tensor in tensors.items():
        if not _plain(name, tensor) or tensor.numel() * tensor.element_size() > size:
            raise InputError(f"weights {str(path)!r} hold something else than named tensors: {str(name)[:80]!r}")
    if not tensors:
        raise InputError(f"weights {str(path)!r} are empty; get them again")
    return config, tensors


def write(path: Path, config: dict, tensors: dict[str, Tensor]) -> None:
    """Tensors and their config as .safetensors; the file appears under its name when it is whole."""
    from safetensors.torch import save_file

    part = path.with_name(f".{path.stem[:80]}.{uuid.uuid4().hex[:8]}.part")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, {"config": json.dumps(config)})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    """InputError for the first tensor with NaN or infinity."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"weights {str(path)!r} hold NaN or infinity in {name!r}; get or export them again")


def check_sizes(path: str | os.PathLike, value: object) -> None:
    """Refuse configs with numbers that would build a network larger than any file of ours."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for item in inside:
        check_sizes(path, item)
    if isinstance(value, int | float) and not abs(value) <= LARGEST_SIZE:
        raise InputError(f"weights {str(path)!r} have {value} in their config; allowed is up to {LARGEST_SIZE}")


def some(names: list[str], most: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _plain(name: object, tensor: object) -> bool:
    """A dense tensor in memory; sparse, quantised and meta ones have no place in weights."""
    import torch

    usual = isinstance(name, str) and isinstance(tensor, torch.Tensor)
    return usual and tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def _safetensors(path: Path) -> tuple[dict | None, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise InputError(
            f"weights {str(path)!r} are not a whole safetensors file ({_line(error)}); get them again"
        ) from None
    return config if isinstance(config, dict) else None, tensors


def _pickled(path: Path) -> tuple[dict | None, dict[str, Tensor]]:
    """What torch.save wrote: ours {"config", "weights"}, a wrapper {"state_dict", ...}, or names and tensors alone."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols; what is wrong is said below
            # Files of torch < 1.6 are no zip archives and cannot be mapped.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if any(word in str(error) for word in ("Unsupported global", "Unsupported class", "unrecognized function")):
            raise InputError(
                f"weights {str(path)!r} hold code, not only tensors, and are refused; ask for .safetensors"
            ) from None
        raise InputError(f"weights {str(path)!r} are no weights of PyTorch, or damaged; get them again") from None
    except (RuntimeError, OSError) as error:
        raise InputError(f"weights {str(path)!r} are damaged ({_line(error)}); get them again") from None
    except (EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError):  # any text can be such a "pickle"
        raise InputError(f"weights {str(path)!r} are no weights of PyTorch, or cut off; get them again") from None
    if not isinstance(content, dict):
        raise InputError(f"weights {str(path)!r} hold a {type(content).__name__}; allowed are names with tensors")
    if isinstance(content.get("weights"), dict):
        config = content.get("config")
        return config if isinstance(config, dict) else None, content["weights"]
    wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), dict)), None)
    return None, content[wrapper] if wrapper else content


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0][:120] or type(error).__name__
