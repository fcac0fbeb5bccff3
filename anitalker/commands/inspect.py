"""anitalker inspect: what the motion encoder looks at, as a page of pictures."""

from __future__ import annotations

import argparse

from anitalker.commands import options

HELP = "what the motion encoder looks at: a report of a picture, a folder of pictures, or a video"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("source", metavar="PORTRAIT|FOLDER|VIDEO")
    options.add_output_option(parser, "DIR")
    parser.add_argument("--speech", metavar="FILE", help="whose attention maps are drawn (default: the demo's)")
    parser.add_argument("--stage", type=int, metavar="N", help="of a folder's patches, 0 is the finest (default: all)")
    parser.add_argument("--channel", type=int, metavar="N", help="and the channel (default: the most selective one)")
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Make the report; returns the facts for --json."""
    from anitalker.inspection.attribution import import_extra
    from anitalker.inspection.report import check_folder
    from anitalker.pipeline import load

    for package in ("captum", "matplotlib", "sklearn"):
        import_extra(package)
    check_folder(arguments.output)  # before anything slow
    from anitalker.inspection.tour import inspect

    talker = load(**options.to_load_arguments(arguments))
    with options.ProgressBar() as progress:
        return inspect(
            talker,
            arguments.source,
            arguments.output,
            arguments.speech,
            arguments.stage,
            arguments.channel,
            progress,
        )


def print_summary(facts: dict) -> None:
    """Print where the page is, its number of pictures and its sections."""
    sections = ", ".join(facts["sections"])
    print(f"{facts['output']}: {facts['pictures']} pictures in {facts['seconds']:.0f} s; {sections}")
