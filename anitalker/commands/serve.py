"""anitalker serve: REST and WebRTC."""

from __future__ import annotations

import argparse
from pathlib import Path

from anitalker.commands import options
from anitalker.config import InputError
from anitalker.server.limits import MB, Limits, add_no_marks_option
from anitalker.server.settings import (
    TOKEN_VARIABLE,
    ServerSettings,
    missing_package,
    read_ice_servers,
    token_from_environment,
)

HELP = "a server: videos by REST, a face that answers live by WebRTC"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    settings, limits = ServerSettings(), Limits()
    parser.add_argument("--host", default=settings.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=settings.port, help="default: %(default)s")
    parser.add_argument(
        "--max-sessions",
        type=int,
        default=settings.max_sessions,
        metavar="N",
        help="live sessions at once; more are refused (default: %(default)s)",
    )
    parser.add_argument(
        "--ice-servers",
        metavar="FILE",
        help='JSON list of STUN and TURN servers: [{"urls", "username", "credential"}] (default: none)',
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=settings.idle_seconds,
        metavar="SECONDS",
        help="end a session in which nothing was said for so long (default: %(default)g)",
    )
    parser.add_argument(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a web site that may use the server, such as https://example.org; may be repeated",
    )
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE.pem", help="serve HTTPS with this certificate")
    parser.add_argument("--tls-key", type=Path, metavar="FILE.pem", help="its private key")
    parser.add_argument(
        "--drawing-processes",
        type=int,
        metavar="N",
        help="that draw the frames of all live faces; 0: threads of the server do (default: one per core, at most 4)",
    )
    parser.add_argument("--voices", type=Path, metavar="FOLDER", help="offer the piper voices in this folder for texts")
    add_no_marks_option(parser)
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-upload", type=float, default=limits.upload_bytes / MB, metavar="MB", help="default: %(default)g"
    )
    group.add_argument(
        "--max-seconds",
        type=float,
        default=limits.media_seconds,
        help="length of a recording (default: %(default)g)",
    )
    parser.epilog = f"The environment variable {TOKEN_VARIABLE} is the token that clients send."
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Serve until the server is interrupted. InputError for wrong options, and where the extra is not installed."""
    for name in ("max_upload", "max_seconds"):
        if not 0 < getattr(arguments, name) < 1e6:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; give a number above 0")
    settings = ServerSettings(
        host=arguments.host,
        port=arguments.port,
        max_sessions=arguments.max_sessions,
        token=token_from_environment(),
        origins=tuple(arguments.cors),
        ice_servers=read_ice_servers(arguments.ice_servers),
        certificate=arguments.tls_certificate,
        key=arguments.tls_key,
        idle_seconds=arguments.idle_timeout,
        drawing_processes=arguments.drawing_processes,
        limits=Limits(
            upload_bytes=int(arguments.max_upload * MB),
            media_seconds=arguments.max_seconds,
            allow_no_marks=arguments.allow_no_marks,
        ),
    )
    if missing := missing_package():
        raise InputError(f'serving needs {missing}; install the extra: pip install "anitalker[serve]"')
    from anitalker.server import run as server
    from anitalker.server.voices import Voices

    try:
        server.run(settings, options.to_load_arguments(arguments), Voices(arguments.voices))
    except KeyboardInterrupt:
        return {"exit_status": 130}
    return {}


def print_summary(facts: dict) -> None:
    """Print nothing: the server has printed its address."""
