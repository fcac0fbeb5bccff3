"""anitalker verify: who made a file, and is it as it was made?"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from anitalker.commands import options

if TYPE_CHECKING:
    from anitalker.provenance.verify import Verdict

HELP = "who made a video or picture, and is it unaltered?"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("file", help="video or picture")
    parser.add_argument(
        "--ledger",
        default=os.environ.get("ANITALKER_LEDGER"),
        metavar="FILE",
        help="SQLite file in which the identifier is looked up (default: ANITALKER_LEDGER, which commands write to)",
    )
    parser.add_argument("--json", action="store_true", help="what was read, as one JSON object")


def run(arguments: argparse.Namespace) -> Verdict:
    """Read the file's marks; returns the facts for --json. The exit status is 0 whatever the verdict."""
    from anitalker.provenance.verify import verify

    return verify(arguments.file, arguments.ledger)


def print_summary(verdict: Verdict) -> None:
    """Print the verdict for people."""
    from anitalker.provenance.verify import summary_lines

    print("\n".join(summary_lines(verdict)))
