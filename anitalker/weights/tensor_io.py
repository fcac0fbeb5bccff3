"""Read named tensors from .safetensors, .pt, .pth and .ckpt, never code; write .safetensors, whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.config import InputError
from anitalker.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pt", ".ckpt", ".pth")
WRAPPER_KEYS = ("state_dict", "params_ema", "params")  # under which other programs store the tensors
MAX_FILE_BYTES = 8 * 2**30
MAX_CONFIG_NUMBER = 65_536  # in the config of a network: a forged one must not use up the memory
LFS_HEADER = b"version https://git-lfs"  # of the pointer that a clone without Git LFS has in place of a large file


def read(path: Path) -> tuple[dict | None, dict[str, Tensor]]:
    """Read the config (None where the file has none) and the tensors by name, as they are stored.

    Where the format allows it the tensors are views of the mapped file: unused ones cost no memory. Nothing in the file
    is executed; a pickle that names any code is refused before it runs. InputError for a file that cannot be read.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"weights {str(path)!r} end in {path.suffix!r}; allowed are {', '.join(SUFFIXES)}")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(f"weights {str(path)!r} are {size} bytes; allowed are {MAX_FILE_BYTES}")
    with open(path, "rb") as file:
        if file.read(len(LFS_HEADER)) == LFS_HEADER:
            raise InputError(
                f"weights {str(path)!r} are a Git LFS pointer, not the file; run git lfs pull in its folder"
            )
    config, tensors = (_read_safetensors if path.suffix.lower() == ".safetensors" else _read_pickle)(path)
    for name, tensor in tensors.items():
        if not _is_dense(name, tensor) or tensor.numel() * tensor.element_size() > size:
            raise InputError(f"weights {str(path)!r} hold something else than named tensors: {str(name)[:80]!r}")
    if not tensors:
        raise InputError(f"weights {str(path)!r} are empty; get them again")
    return config, tensors


def write(path: Path, config: dict, tensors: dict[str, Tensor]) -> None:
    """Write tensors and their config as .safetensors; the file appears under its name when it is whole."""
    from safetensors.torch import save_file

    dense = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda partial: save_file(dense, partial, {"config": json.dumps(config)}))


def check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    """Raise InputError for the first tensor with NaN or infinity."""
    for name, tensor in tensors.items():
        # A sum is quicker; it may also overflow.
        if not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise InputError(f"weights {str(path)!r} hold NaN or infinity in {name!r}; get or export them again")


def check_sizes(path: str | os.PathLike, value: object) -> None:
    """Raise InputError for a config with numbers that would build a network larger than any known one."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for item in items:
        check_sizes(path, item)
    if isinstance(value, int | float) and not abs(value) <= MAX_CONFIG_NUMBER:
        raise InputError(f"weights {str(path)!r} have {value} in their config; allowed is up to {MAX_CONFIG_NUMBER}")


def first_names(names: list[str], count: int = 3) -> str:
    """Join the first names of a list for a message, and say how many more there are."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def _is_dense(name: object, tensor: object) -> bool:
    """Whether it is a named dense tensor in memory: sparse, quantised and meta tensors are no weights."""
    import torch

    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        return False
    return tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def _read_safetensors(path: Path) -> tuple[dict | None, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise InputError(
            f"weights {str(path)!r} are not a whole safetensors file ({_first_sentence(error)}); get them again"
        ) from None
    return config if isinstance(config, dict) else None, tensors


def _read_pickle(path: Path) -> tuple[dict | None, dict[str, Tensor]]:
    """Read a file of torch.save: ours {"config", "weights"}, a wrapper {"state_dict", ...}, or names and tensors."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols; errors are reported below
            # Files of torch < 1.6 are no zip archives and cannot be mapped.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if any(word in str(error) for word in ("Unsupported global", "Unsupported class", "unrecognized function")):
            raise InputError(
                f"weights {str(path)!r} hold code, not only tensors, and are refused; ask for .safetensors"
            ) from None
        raise InputError(f"weights {str(path)!r} are no weights of PyTorch, or damaged; get them again") from None
    except (RuntimeError, OSError) as error:
        raise InputError(f"weights {str(path)!r} are damaged ({_first_sentence(error)}); get them again") from None
    except (
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ):  # of text that happens to start like a pickle
        raise InputError(f"weights {str(path)!r} are no weights of PyTorch, or cut off; get them again") from None
    if not isinstance(content, dict):
        raise InputError(f"weights {str(path)!r} hold a {type(content).__name__}; allowed are names with tensors")
    if isinstance(content.get("weights"), dict):
        config = content.get("config")
        return config if isinstance(config, dict) else None, content["weights"]
    wrapper = next((key for key in WRAPPER_KEYS if isinstance(content.get(key), dict)), None)
    return None, content[wrapper] if wrapper else content


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0][:120] or type(error).__name__
