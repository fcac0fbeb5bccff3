"""anitalker reenact: a portrait moves like the face in a video."""

from __future__ import annotations

import argparse

from anitalker.commands import options as flags
from anitalker.commands.render import say as say

HELP = "a portrait moves like the face in a video"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument("video", help="driving video; its sound is kept")
    parser.add_argument(
        "--absolute", action="store_true", help="the video's own poses, not relative to its first frame"
    )
    flags.output_flag(parser, "OUT.mp4")
    flags.picture_flags(parser)
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Make the video -> facts for --json."""
    from anitalker.files import check_output
    from anitalker.pipeline import load

    options = flags.options_of(arguments)
    check_output(arguments.output)  # before anything slow
    talker = load(**flags.model_of(arguments))
    with flags.Progress() as progress:
        return talker.reenact(
            arguments.portrait,
            arguments.video,
            arguments.output,
            options,
            progress=progress,
            relative=not arguments.absolute,
        )
