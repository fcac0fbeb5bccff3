"""The files of the examples: where they are, and their addresses on this server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "examples"
ROUTE = "/examples/"  # begins their address on this server; the guard turns it into the file


def publish(root: Path) -> Path:
    """Copy the files below the sessions' root, where every visitor may read them. Returns their folder."""
    return Path(shutil.copytree(FOLDER, root / "examples"))


def local_example(address: str, public: frozenset[Path]) -> Path | None:
    """Return the example file of a path or address that ends in ROUTE and its name; None for anything else.

    The host does not matter: nothing is fetched from it.
    """
    _, found, name = address.rpartition(ROUTE)
    return next((file for file in public if found and file.name == name), None)


def with_local_examples(value: Any, public: frozenset[Path]) -> Any:
    """Return a call in which addresses of examples have become files, as a program gives them that follows the API's
    samples: {"path": address, "url": address} becomes {"path": file}."""
    if isinstance(value, list):
        return [with_local_examples(item, public) for item in value]
    if not isinstance(value, dict):
        return value
    path = value.get("path")
    file = local_example(path, public) if isinstance(path, str) and path.startswith(("http://", "https://")) else None
    if file is not None:
        return {**{key: item for key, item in value.items() if key != "url"}, "path": str(file)}
    return {key: with_local_examples(item, public) for key, item in value.items()}
