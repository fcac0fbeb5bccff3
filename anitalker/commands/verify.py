"""anitalker verify: who made a file, and is it as it was made?"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from anitalker.commands import options

if TYPE_CHECKING:
    from anitalker.provenance.verify import CheckedVerdict

HELP = "who made a video, picture or recording, and is it unaltered?"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("file", help="video, picture or recording")
    parser.add_argument(
        "--ledger",
        default=os.environ.get("ANITALKER_LEDGER"),
        metavar="FILE",
        help="SQLite file in which the identifier is looked up (default: ANITALKER_LEDGER, which commands write to)",
    )
    parser.add_argument("--law", choices=("eu", "cn", "ca"), help="what this law asks of a file, and what the file has")
    parser.add_argument("--json", action="store_true", help="what was read, as one JSON object")


def run(arguments: argparse.Namespace) -> CheckedVerdict:
    """Read the file's marks; returns the facts for --json. The exit status is 0 whatever the verdict."""
    from anitalker.provenance.law import checklist
    from anitalker.provenance.verify import verify

    verdict = verify(arguments.file, arguments.ledger)
    if not arguments.law:
        return {**verdict}
    return {**verdict, "law": {"name": arguments.law, "rows": checklist(arguments.law, verdict)}}


def print_summary(verdict: CheckedVerdict) -> None:
    """Print the verdict for people."""
    from anitalker.provenance.law import checklist_lines
    from anitalker.provenance.verify import summary_lines

    lines = summary_lines(verdict)
    if "law" in verdict:
        lines += checklist_lines(verdict["law"]["name"], verdict["law"]["rows"])
    print("\n".join(lines))
