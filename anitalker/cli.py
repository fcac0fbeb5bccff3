"""The command line: arguments -> one command; results on stdout, progress on stderr, errors in one line."""

from __future__ import annotations

import importlib
import json
import logging
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from anitalker import __version__
from anitalker.commands.options import Parser
from anitalker.config import InputError

# Modules of anitalker.commands, in the order of --help.
COMMANDS = (
    "render",
    "reenact",
    "say",
    "sample",
    "stream",
    "batch",
    "faces",
    "encode",
    "inspect",
    "models",
    "verify",
    "app",
)


def command(name: str):
    """The module of a command."""
    return importlib.import_module(f"anitalker.commands.{name}")


def build_parser() -> Parser:
    """Every command and flag; loads nothing heavy."""
    parser = Parser(prog="anitalker", description="One portrait and a speech recording in, a video out.")
    parser.add_argument("--version", action="version", version=f"anitalker {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = command(name)
        module.add(commands.add_parser(name, help=module.HELP))
    return parser


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 our fault, 2 wrong input or usage, 130 interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    before = signal.signal(signal.SIGTERM, _interrupt)  # being stopped leaves nothing half-written either
    try:
        arguments = build_parser().parse_args(argv)
        chosen = command(arguments.command)
        facts = chosen.run(arguments)
        if arguments.json:
            print(json.dumps(facts))
        else:
            chosen.say(facts)
        return facts.get("exit_status", 0)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: no output was written", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
