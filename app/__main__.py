"""python -m app: the web page on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from typing import NoReturn

from anitalker.commands.options import Parser, device_flag
from anitalker.config import InputError
from app.limits import MB, Limits

LIMITS = Limits()


def build_parser() -> Parser:
    """The flags; the limits' defaults are those of Limits."""
    parser = Parser(prog="python -m app", description="AniTalker as a web page.")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for this name and password")
    parser.add_argument("--model", default="lite", metavar="NAME|FILE", help="default: %(default)s")
    device_flag(parser)
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-upload",
        type=float,
        default=LIMITS.upload / MB,
        metavar="MB",
        help="of one upload (default: %(default)g)",
    )
    group.add_argument(
        "--max-seconds", type=float, default=LIMITS.seconds, help="of speech or driving video (default: %(default)g)"
    )
    group.add_argument(
        "--max-waiting", type=int, default=LIMITS.waiting, help="jobs that may wait in line (default: %(default)s)"
    )
    group.add_argument(
        "--keep-minutes",
        type=float,
        default=LIMITS.keep / 60,
        help="files of a visitor after the last request (default: %(default)g)",
    )
    return parser


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that were asked for; InputError for those that make no sense."""
    for name in ("max_upload", "max_seconds", "keep_minutes"):
        if not 0 < getattr(arguments, name) < 1e6:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; give a number above 0")
    if not 0 <= arguments.max_waiting <= 1000:
        raise InputError(f"--max-waiting is {arguments.max_waiting}; allowed is 0 to 1000")
    return Limits(
        int(arguments.max_upload * MB), arguments.max_seconds, arguments.max_waiting, arguments.keep_minutes * 60
    )


def login_of(auth: str | None) -> tuple[str, str] | None:
    """USER:PASSWORD -> both."""
    user, colon, password = (auth or "").partition(":")
    if auth is not None and not (user and colon and password):
        raise InputError("--auth came without a name or a password; give USER:PASSWORD")
    return (user, password) if auth else None


def check_port(host: str, port: int) -> None:
    """InputError, before a model is loaded, if nobody could listen there."""
    if not 0 < port < 65536:
        raise InputError(f"port {port} is none; allowed is 1 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise InputError(f"port {port} of {host!r} cannot be used ({error}); choose another --port or --host") from None


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Load one model, serve the page until Ctrl-C; the exit status as the command line's."""
    before = signal.signal(signal.SIGTERM, _interrupt)  # stopped in whatever way, the visitors' files are deleted
    try:
        arguments = build_parser().parse_args(argv)
        limits, auth = limits_of(arguments), login_of(arguments.auth)
        check_port(arguments.host, arguments.port)

        from anitalker.pipeline import load
        from app.models import Models
        from app.server import application, serve

        # They are recorded while nothing else uses the card, which several visitors do not keep to.
        os.environ.setdefault("ANITALKER_GRAPHS", "0")
        talker = load(arguments.model, arguments.device)
        talker.finder()  # the face network too, before the first visitor waits for it
        models = Models(talker, arguments.model, arguments.device)
        with application(models, limits, auth) as app:
            print(f"AniTalker: http://{arguments.host}:{arguments.port}  (Ctrl-C ends it)", flush=True)
            serve(app, arguments.host, arguments.port)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # everything is closed; taking the libraries apart object by object would take seconds
