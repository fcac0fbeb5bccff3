"""`models fetch`: published files from the model hub into the user's cache; resumable, whole or not at all, checked.

Plain HTTP with the standard library. What has arrived waits as FILE.partial, with FILE.partial.json saying of which
remote file it is a part (address, ETag, size): a file that changed in between starts over and is never glued together.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from anitalker import __version__, registry
from anitalker.config import InputError

HUB = "https://huggingface.co"
BLOCK = 1 << 18  # bytes read at once
PAUSES = (1, 4, 10)  # seconds before each further try without progress
PATIENCE = 30  # seconds without a byte

Progress = Callable[[str, int, int], None]  # what, done, total, in MB


class _Again(Exception):
    """The connection broke or the server is busy: what is there stays, and another try may help."""


def hub() -> str:
    """Address of the model hub or of a mirror with the same paths: ANITALKER_HUB, HF_ENDPOINT, or the default."""
    address = os.environ.get("ANITALKER_HUB") or os.environ.get("HF_ENDPOINT") or HUB
    if not address.startswith(("https://", "http://")):
        raise InputError(f"ANITALKER_HUB is {address!r}; allowed is an address that begins with https:// or http://")
    return address.rstrip("/")


def fetch(name: str, progress: Progress | None = None) -> dict:
    """A registry file into the user's cache, unless it is here -> {"name", "file", "bytes", "sha256", "fetched"}.

    The hash must be the registered one; where none is registered, the first fetch records it beside the file.
    """
    entry = registry.REGISTRY.get(name)
    if entry is None or not entry.remote:
        known = ", ".join(key for key, one in registry.REGISTRY.items() if one.remote)
        raise InputError(f"there is nothing to fetch for {name!r}; allowed are {known}")
    target = registry.here(entry)
    if fetched := target is None:
        target = registry.folders()[-1] / entry.file
        url = entry.url or f"{hub()}/{entry.repository}/resolve/main/{entry.file}"
        wanted = entry.sha256 or registry.recorded(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            registry.record(target, url, download(url, target, entry.size, wanted, progress))
        except OSError as error:
            raise InputError(
                f"cannot write {str(target)!r} ({error.strerror}); set XDG_CACHE_HOME to another folder"
            ) from None
    else:
        registry.verify(name, target, entry)
    digest = entry.sha256 or registry.recorded(target)
    return {"name": name, "file": str(target), "bytes": target.stat().st_size, "sha256": digest, "fetched": fetched}


def download(url: str, target: Path, size: int = 0, sha256: str = "", progress: Progress | None = None) -> str:
    """`url` to `target`, continuing what an earlier try left; size [bytes] and sha256 are checked where they are given.
    Returns the SHA-256.

    InputError in one line when the host cannot be reached, has no such file, or has another one than expected.
    """
    part = _Part(url, target)
    failures = 0
    while True:
        before = part.bytes()
        try:
            _receive(part, size, progress)
            break
        except _Again as error:
            failures = 0 if part.bytes() > before else failures + 1
            if failures > len(PAUSES):
                kept = f"; {part.bytes()} bytes are kept, the same command continues" if part.bytes() else ""
                raise InputError(f"{_unreached(url, target, error)}{kept}") from None
            time.sleep(PAUSES[max(failures, 1) - 1])
    digest = registry.sha256(part.path)
    if sha256 and digest != sha256:
        part.discard()
        raise InputError(f"{url} is not the registered file (SHA-256 {digest[:12]}... instead of {sha256[:12]}...)")
    part.finish()
    return digest


class _Part:
    """What has arrived of a file, and of which remote file it is a part."""

    def __init__(self, url: str, target: Path) -> None:
        self.url, self.target = url, target
        self.path = target.with_name(f"{target.name}.partial")
        self.note = target.with_name(f"{target.name}.partial.json")

    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def known(self) -> dict:
        """The note of what is there; empty where nothing can be continued."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        whole = isinstance(note, dict) and note.get("tag") and isinstance(note.get("total"), int)
        return note if whole and note.get("url") == self.url and self.bytes() else {}  # without a tag nobody can tell

    def begin(self, tag: str, total: int) -> None:
        """Start from nothing."""
        self.discard()
        self.note.write_text(json.dumps({"url": self.url, "tag": tag, "total": total}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self) -> None:
        self.path.replace(self.target)
        self.note.unlink(missing_ok=True)


def _receive(part: _Part, size: int, progress: Progress | None) -> None:
    """One connection: ask for what is missing and write it down as it comes."""
    note = part.known()
    start = part.bytes() if note else 0
    if note and start == note["total"]:
        return
    headers = {"User-Agent": f"anitalker/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": note["tag"]}
    with _open(part, urllib.request.Request(part.url, headers=headers)) as answer:
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        total = _total(answer, start)
        if total is None or (start and answer.status == 206 and (tag, total) != (note["tag"], note["total"])):
            part.discard()
            raise _Again("the file changed")
        if size and total != size:
            part.discard()
            raise InputError(f"{part.url} has {total} bytes instead of {size}: it is not the registered file")
        if answer.status != 206 or not start:
            start = 0
            part.begin(tag, total)
        if (free := shutil.disk_usage(part.path.parent).free) < total - start:
            raise InputError(f"{part.path.parent} has {free} bytes free; {total - start} are needed")
        _copy(answer, part, start, total, progress)


def _copy(answer: http.client.HTTPResponse, part: _Part, done: int, total: int, progress: Progress | None) -> None:
    with open(part.path, "ab") as file:
        while done < total:
            try:
                block = answer.read(min(BLOCK, total - done))
            except (http.client.HTTPException, OSError) as error:
                raise _Again(_reason(error)) from None
            if not block:
                raise _Again(f"the connection ended after {done} of {total} bytes")
            file.write(block)
            done += len(block)
            if progress:
                progress(f"{part.target.name} [MB]", done // 10**6, -(-total // 10**6))
        if progress:
            progress(f"{part.target.name} [MB]", -(-total // 10**6), -(-total // 10**6))


def _open(part: _Part, request: urllib.request.Request) -> http.client.HTTPResponse:
    """The answer to a request; what further tries cannot mend is an InputError."""
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.discard()
            raise _Again("the file changed") from None
        if error.code in (408, 429) or error.code >= 500:
            raise _Again(f"status {error.code}") from None
        raise InputError(
            f"{part.url} is not to be had (status {error.code}); {_by_hand(part.url, part.target)}"
        ) from None
    except (http.client.HTTPException, OSError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        if isinstance(reason, socket.gaierror):  # no such host, or no network: waiting would not help
            raise InputError(_unreached(part.url, part.target, reason)) from None
        raise _Again(_reason(reason)) from None


def _total(answer: http.client.HTTPResponse, start: int) -> int | None:
    """Size of the whole file [bytes]; None when the answer is not the piece that was asked for."""
    if answer.status == 206:
        unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
        span, _, total = rest.partition("/")
        if unit != "bytes" or not span.startswith(f"{start}-") or not total.isdigit():
            return None
        return int(total)
    length = answer.headers.get("Content-Length", "")
    if not length.isdigit():
        raise InputError(f"{answer.url} does not say how large it is; set ANITALKER_HUB to another mirror")
    return int(length)


def _unreached(url: str, target: Path, error: object) -> str:
    host = url.split("/")[2]
    return f"cannot get {target.name} from {host} ({_reason(error)}); {_by_hand(url, target)}"


def _by_hand(url: str, target: Path) -> str:
    return f"get {url} in another way and put it at {str(target)!r}, or set ANITALKER_HUB to a mirror"


def _reason(error: object) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:120] or type(error).__name__
