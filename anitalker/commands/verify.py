"""anitalker verify: who made a file, and is it as it was made?"""

from __future__ import annotations

import argparse

from anitalker.commands import options as flags

HELP = "who made a video or picture, and is it unaltered?"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("file", help="video or picture")
    parser.add_argument("--json", action="store_true", help="what was read, as one JSON object")


def run(arguments: argparse.Namespace) -> dict:
    """Look -> facts for --json; the exit status is 0 whatever the verdict."""
    from anitalker.provenance.verify import verify

    return verify(arguments.file)


def say(found: dict) -> None:
    """The verdict for people."""
    from anitalker.provenance.verify import words

    print("\n".join(words(found)))
