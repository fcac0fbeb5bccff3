"""anitalker inspect: what the motion encoder looks at, as a page of pictures."""

from __future__ import annotations

import argparse

from anitalker.commands import options as flags

HELP = "what the motion encoder looks at: a report of a picture, a folder of pictures, or a video"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("source", metavar="PORTRAIT|FOLDER|VIDEO")
    flags.output_flag(parser, "DIR")
    parser.add_argument("--speech", metavar="FILE", help="whose attention maps are drawn (default: the demo's)")
    parser.add_argument("--stage", type=int, metavar="N", help="of a folder's patches, 0 is the finest (default: all)")
    parser.add_argument("--channel", type=int, metavar="N", help="and the channel (default: the most selective one)")
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Make the report -> facts for --json."""
    from anitalker.inspection.attribution import need
    from anitalker.inspection.report import check_folder
    from anitalker.pipeline import load

    for package in ("captum", "matplotlib", "sklearn"):
        need(package)
    check_folder(arguments.output)  # before anything slow
    from anitalker.inspection.tour import inspect

    talker = load(**flags.model_of(arguments))
    with flags.Progress() as progress:
        return inspect(
            talker,
            arguments.source,
            arguments.output,
            arguments.speech,
            arguments.stage,
            arguments.channel,
            progress,
        )


def say(made: dict) -> None:
    """Where the page is."""
    sections = ", ".join(made["sections"])
    print(f"{made['output']}: {made['pictures']} pictures in {made['seconds']:.0f} s; {sections}")
