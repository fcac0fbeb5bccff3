"""python -m app: serve the web page from a checkout."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from anitalker.config import InputError

from .options import Parser, add_arguments


def build_parser() -> Parser:
    """Build the parser of `python -m app`."""
    parser = Parser(prog="python -m app", description="Serve AniTalker as a web page.")
    add_arguments(parser)
    return parser


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C or SIGTERM. Returns the exit status: 2 for wrong usage, 130 after an interruption."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as in anitalker.cli
    previous = signal.signal(signal.SIGTERM, _interrupt)  # SIGTERM deletes the visitors' files as Ctrl-C does
    try:
        arguments = build_parser().parse_args(argv)
        from .server import run

        run(arguments)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # everything is closed; the interpreter's own shutdown would take seconds
