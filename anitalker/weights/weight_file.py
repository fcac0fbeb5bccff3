"""A weight file that is opened once: path, registry entry, config, tensors and SHA-256."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.weights import registry, tensor_io

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightFile:
    """A verified weight file.

    entry: in the registry, None for a file of the user; config: the JSON object stored with the tensors,
    None where there is none; tensors: by name, as they are stored; sha256: hex digest of the whole file.
    """

    path: Path
    entry: registry.Entry | None
    config: dict | None
    tensors: dict[str, Tensor]
    sha256: str


def open_weights(name: str | os.PathLike) -> WeightFile:
    """Open a registry name, file or folder; nothing in the file is executed.

    InputError where there is no such file, where it is damaged, or where its hash is not the registered one.
    """
    path, entry = registry.resolve(name)
    digest = registry.sha256(path)
    registry.verify(name, path, entry, digest)
    config, tensors = tensor_io.read(path)
    return WeightFile(path, entry, config, tensors, digest)
