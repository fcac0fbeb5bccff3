"""The options of the page's server, shared by `python -m app` and `anitalker app`. Imports nothing heavy."""

from __future__ import annotations

import argparse
from typing import NoReturn

from anitalker.config import InputError
from anitalker.server.limits import MB, Limits, add_no_marks_option
from anitalker.server.settings import ServerSettings, default_sessions, read_ice_servers

DEFAULTS = Limits()


class Parser(argparse.ArgumentParser):
    """Usage errors become InputError: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError in place of leaving the program."""
        raise InputError(f"{' '.join(message.split())}; see `{self.prog} --help`")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the server's options. The defaults of the limits are those of `Limits`."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 admits other machines (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument(
        "--root-path",
        default="",
        metavar="PATH",
        help="the page's path behind a proxy, like /talk (default: the header X-Forwarded-Prefix, or the root)",
    )
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for this name and password")
    parser.add_argument("--model", default="lite", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s")
    parser.add_argument(
        "--voices",
        metavar="FOLDER",
        help="offer the piper voices in this folder (NAME.onnx with NAME.onnx.json) for texts",
    )
    parser.add_argument(
        "--ice-servers",
        metavar="FILE",
        help='tab Live: JSON list of STUN and TURN servers, [{"urls", "username", "credential"}] (default: none)',
    )
    add_no_marks_option(parser)
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-sessions",
        type=int,
        default=default_sessions(),
        metavar="N",
        help="faces of the tab Live at once; more are refused (default: %(default)s)",
    )
    group.add_argument(
        "--max-upload",
        type=float,
        default=DEFAULTS.upload_bytes / MB,
        metavar="MB",
        help="size of one upload (default: %(default)g)",
    )
    group.add_argument(
        "--max-seconds",
        type=float,
        default=DEFAULTS.media_seconds,
        help="length of a recording or driving video (default: %(default)g)",
    )
    group.add_argument(
        "--max-waiting",
        type=int,
        default=DEFAULTS.waiting_jobs,
        help="jobs that may wait in the queue (default: %(default)s)",
    )
    group.add_argument(
        "--max-tune",
        type=float,
        default=DEFAULTS.tune_minutes,
        metavar="MINUTES",
        help="training of an avatar, during which other jobs wait (default: %(default)g)",
    )
    group.add_argument(
        "--keep-minutes",
        type=float,
        default=DEFAULTS.keep_seconds / 60,
        help="delete a visitor's files this long after the last request (default: %(default)g)",
    )


def limits_from(arguments: argparse.Namespace) -> Limits:
    """Return the limits that the options ask for. Raises InputError for a value out of range."""
    for name in ("max_upload", "max_seconds", "keep_minutes", "max_tune"):
        if not 0 < getattr(arguments, name) < 1e6:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; give a number above 0")
    if not 0 <= arguments.max_waiting <= 1000:
        raise InputError(f"--max-waiting is {arguments.max_waiting}; allowed is 0 to 1000")
    return Limits(
        upload_bytes=int(arguments.max_upload * MB),
        media_seconds=arguments.max_seconds,
        waiting_jobs=arguments.max_waiting,
        tune_minutes=arguments.max_tune,
        keep_seconds=arguments.keep_minutes * 60,
        allow_no_marks=arguments.allow_no_marks,
    )


def live_from(arguments: argparse.Namespace) -> ServerSettings:
    """Return the settings of the tab Live that the options ask for. Raises InputError for what cannot work."""
    return ServerSettings(max_sessions=arguments.max_sessions, ice_servers=read_ice_servers(arguments.ice_servers))


def credentials_from(auth: str | None) -> tuple[str, str] | None:
    """Split USER:PASSWORD into name and password; None without --auth. Raises InputError if one is missing."""
    if auth is None:
        return None
    user, _, password = auth.partition(":")
    if not (user and password):
        raise InputError("--auth came without a name or a password; give USER:PASSWORD")
    return user, password
