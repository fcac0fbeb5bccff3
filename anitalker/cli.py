"""The command line: parse the arguments and run one command.

Results go to stdout, progress to stderr. An error is one line on stderr.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from anitalker import __version__
from anitalker.commands.options import Parser
from anitalker.config import InputError

# Modules of anitalker.commands, in the order of --help.
COMMANDS = (
    "render",
    "reenact",
    "dub",
    "say",
    "sample",
    "stream",
    "batch",
    "tune",
    "faces",
    "encode",
    "inspect",
    "models",
    "verify",
    "serve",
    "app",
    "bench",
)


def command_module(name: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"anitalker.commands.{name}")


def build_parser() -> Parser:
    """Build the parser of every command; imports nothing heavy."""
    parser = Parser(prog="anitalker", description="One portrait and a speech recording in, a video out.")
    parser.add_argument("--version", action="version", version=f"anitalker {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = command_module(name)
        module.add_arguments(commands.add_parser(name, help=module.HELP))
    return parser


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 2 wrong input or usage, 130 interrupted.

    Any other exception is a fault of ours and is raised: Python then exits with 1.
    """
    # OpenMP reads it when torch is imported. Waiting threads sleep: spinning, two threads on cores that other programs
    # use too need twenty times as long for a frame (4.3 s against 0.18 s at load 11).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("anitalker.estimate").setLevel(logging.INFO)
    previous = signal.signal(signal.SIGTERM, _interrupt)  # SIGTERM leaves nothing half-written either
    try:
        arguments = build_parser().parse_args(argv)
        module = command_module(arguments.command)
        facts = module.run(arguments)
        if arguments.json:
            print(json.dumps(facts))
        else:
            module.print_summary(facts)
        return facts.get("exit_status", 0)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: no output was written", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)
