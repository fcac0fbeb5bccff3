"""The settings of `anitalker serve`, checked before a model is loaded. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from anitalker.config import InputError
from anitalker.files import existing_file
from anitalker.runtime.cores import count_cores
from anitalker.server.address import check_port, is_loopback
from anitalker.server.limits import Limits

TOKEN_VARIABLE = "ANITALKER_TOKEN"
MIN_TOKEN_CHARACTERS = 16
MAX_DRAWING_PROCESSES = 64
CORES_PER_SESSION = 2  # a face of 256 pixels and its server take 1.4
# What the extra `serve` brings.
PACKAGES = ("fastapi", "uvicorn", "aiortc", "prometheus_client", "sse_starlette", "python_multipart", "websockets")
ICE_SCHEMES = ("stun", "stuns", "turn", "turns")


def default_sessions() -> int:
    """How many live faces this machine draws at 15 to 25 frames a second: one on two cores."""
    return max(1, count_cores() // CORES_PER_SESSION)


@dataclass(frozen=True)
class IceServer:
    """A STUN or TURN server, as browsers' RTCIceServer describes it."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens, who may use it, and how much. InputError for what cannot work or would not be safe.

    token: what clients send as `Authorization: Bearer`; None only on the loopback address. origins: web sites that may
    use the server beside its own test page, such as https://example.org. certificate, key: PEM files for TLS.
    idle_seconds: a live session in which nothing was said for so long ends. drawing_processes: that draw the frames of
    all live faces; 0: threads of the server do; None: by the machine.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    max_sessions: int = field(default_factory=default_sessions)
    token: str | None = None
    origins: tuple[str, ...] = ()
    ice_servers: tuple[IceServer, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    idle_seconds: float = 300.0
    drawing_processes: int | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 < self.max_sessions <= 1000:
            raise InputError(f"--max-sessions is {self.max_sessions}; allowed is 1 to 1000")
        if not 0 < self.idle_seconds < 1e6:
            raise InputError(f"--idle-timeout is {self.idle_seconds}; give a number of seconds above 0")
        if self.drawing_processes is not None and not 0 <= self.drawing_processes <= MAX_DRAWING_PROCESSES:
            raise InputError(
                f"--drawing-processes is {self.drawing_processes}; allowed is 0 (threads of the server draw) "
                f"to {MAX_DRAWING_PROCESSES}"
            )
        if self.token is None and not is_loopback(self.host):
            raise InputError(
                f"--host is {self.host!r}, which other machines reach, and there is no token; "
                f"set {TOKEN_VARIABLE} to a secret of {MIN_TOKEN_CHARACTERS} characters or more"
            )
        if self.token is not None and not (len(self.token) >= MIN_TOKEN_CHARACTERS and self.token.isascii()):
            raise InputError(
                f"{TOKEN_VARIABLE} is too short or not ASCII; give {MIN_TOKEN_CHARACTERS} characters or more"
            )
        for origin in self.origins:
            _check_origin(origin)
        if (self.certificate is None) != (self.key is None):
            raise InputError("TLS needs both --tls-certificate and --tls-key; give both, or neither")

    def check_usable(self) -> None:
        """Raise InputError where the port is taken, or a certificate is not a file."""
        for path, what in ((self.certificate, "certificate"), (self.key, "key")):
            if path is not None:
                existing_file(path, what)
        check_port(self.host, self.port)


def missing_package() -> str | None:
    """The first package that serving needs and that is not installed; None if all are."""
    return next((name for name in PACKAGES if importlib.util.find_spec(name) is None), None)


def token_from_environment() -> str | None:
    """The token in ANITALKER_TOKEN; None where it is unset or empty."""
    return os.environ.get(TOKEN_VARIABLE) or None


def read_ice_servers(path: str | os.PathLike | None) -> tuple[IceServer, ...]:
    """Read STUN and TURN servers from a JSON file, a list as browsers take it: [{"urls", "username", "credential"}].

    None: no servers; then only addresses of this machine are offered. InputError for a file that says something else.
    """
    if path is None:
        return ()
    file = existing_file(path, "--ice-servers")
    wrong = InputError(f'--ice-servers is {str(path)!r}; give a JSON list like [{{"urls": "stun:stun.example.org"}}]')
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(entries, list):
        raise wrong
    return tuple(_ice_server(entry, wrong) for entry in entries)


def _ice_server(entry: object, wrong: InputError) -> IceServer:
    if not isinstance(entry, dict):
        raise wrong
    urls = entry.get("urls")
    urls = [urls] if isinstance(urls, str) else urls
    names = [entry.get(key) for key in ("username", "credential")]
    if not isinstance(urls, list) or not urls or not all(name is None or isinstance(name, str) for name in names):
        raise wrong
    if not all(isinstance(url, str) and url.partition(":")[0] in ICE_SCHEMES and url.partition(":")[2] for url in urls):
        raise wrong
    return IceServer(tuple(urls), *names)


def _check_origin(origin: str) -> None:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query or parts.fragment:
        raise InputError(f"--cors is {origin!r}; give an origin without a path, such as https://example.org")
