"""Download published weight files into the user's cache: resumable, checked by hash, whole or not at all.

huggingface_hub does the HTTP. Received bytes wait in FILE.HASH.partial, so that another run continues them, but not one
that expects another hash.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] (of the HTTP client that this version of the hub uses)
    OfflineModeIsEnabled,
)
from huggingface_hub.file_download import http_get

from anitalker.config import InputError
from anitalker.weights import registry
from anitalker.weights.registry import REGISTRY, Entry

Progress = Callable[[str, int, int], None]  # stage, done, total; here in MB


class DownloadFacts(TypedDict):
    """A weight file on this machine; bytes: its size; fetched: False for a file that was here before."""

    name: str
    file: str
    bytes: int
    sha256: str
    fetched: bool


def download(name: str, progress: Progress | None = None) -> DownloadFacts:
    """Download a registry file into the user's cache unless it is on this machine already.

    InputError if the name is unknown, the server cannot be reached or has another file, or the folder is not writable.
    """
    entry = REGISTRY.get(name)
    if entry is None or not entry.published:
        known = ", ".join(key for key, candidate in REGISTRY.items() if candidate.published)
        raise InputError(f"there is nothing to fetch for {name!r}; allowed are {known}")
    path = registry.locate(entry)
    fetched = path is None
    if path is None:
        path = registry.search_folders()[-1] / entry.file
        try:
            _download_to(path, entry, progress)
        except OSError as error:
            raise InputError(
                f"cannot write {str(path)!r} ({error.strerror or error}); set XDG_CACHE_HOME to another folder"
            ) from None
    else:
        registry.verify(name, path, entry)
    return {"name": name, "file": str(path), "bytes": path.stat().st_size, "sha256": entry.sha256, "fetched": fetched}


def url_of(entry: Entry) -> str:
    """Return the URL of a published file. ANITALKER_HUB, or else HF_ENDPOINT, replaces the model hub by a mirror."""
    mirror = os.environ.get("ANITALKER_HUB") or None
    if mirror and (urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).hostname):
        raise InputError(f"ANITALKER_HUB is {mirror!r}; allowed is an address that begins with https:// or http://")
    return entry.url or hf_hub_url(entry.repository, entry.file, endpoint=mirror.rstrip("/") if mirror else None)


def _download_to(target: Path, entry: Entry, progress: Progress | None) -> None:
    url = url_of(entry)
    partial_file = target.with_name(f"{target.name}.{entry.sha256[:8]}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _receive(url, partial_file, entry, progress)
    except (HTTPError, OfflineModeIsEnabled) as error:
        mirror = ", or set ANITALKER_HUB to a mirror" if entry.repository else ""
        arrived = partial_file.stat().st_size if partial_file.exists() else 0
        kept = f"; {arrived} bytes are kept, the same command continues" if arrived else ""
        raise InputError(
            f"cannot get {url} ({_reason(error)}); get it in another way and put it at {str(target)!r}{mirror}{kept}"
        ) from None
    digest = registry.sha256(partial_file)
    if digest != entry.sha256:
        partial_file.unlink()
        raise InputError(
            f"{url} is not the registered file (SHA-256 {digest[:12]}... instead of {entry.sha256[:12]}...)"
        )
    partial_file.replace(target)


def _receive(url: str, partial_file: Path, entry: Entry, progress: Progress | None) -> None:
    """Append the missing bytes to `partial_file`. The user's hub token is never sent: the files are public."""
    size = get_hf_file_metadata(url, token=False).size  # None where a server redirects without naming it
    if size not in (None, entry.size):
        raise InputError(f"{url} has {size} bytes instead of {entry.size}: it is not the registered file")
    with open(partial_file, "ab") as file:
        if file.tell() < entry.size:
            bar: Any = partial(_ProgressBar, f"{entry.file} [MB]", progress)
            http_get(url, file, resume_size=file.tell(), tqdm_class=bar)


class _ProgressBar:
    """The part of tqdm that huggingface_hub uses; passes the count on to a progress callback."""

    def __init__(self, stage: str, progress: Progress | None, *, initial: int, total: int | None, **_: object) -> None:
        self.stage, self.progress, self.done, self.total = stage, progress, initial, total or 0

    def __enter__(self) -> _ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Add `count` received bytes."""
        self.done += count
        if self.progress:
            total = -(-self.total // 10**6)
            self.progress(self.stage, total if self.done == self.total else self.done // 10**6, total)


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    return " ".join(str(error).split())[:200] or type(error).__name__
