"""anitalker reenact: a portrait moves like the face in a video."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from anitalker.commands import options
from anitalker.commands.render import print_summary as print_summary

if TYPE_CHECKING:
    from anitalker.rendering import RenderFacts

HELP = "a portrait moves like the face in a video"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument("video", help="driving video; its sound is kept")
    parser.add_argument("--absolute", action="store_true", help="the video's own poses, not relative to the portrait's")
    options.add_driver_face_option(parser)
    options.add_video_output_option(parser)
    options.add_picture_options(parser)
    options.add_encoding_options(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> RenderFacts:
    """Render the video; returns the facts for --json."""
    from anitalker.media.formats import check_video_output
    from anitalker.pipeline import load

    render_options = options.to_render_options(arguments)
    check_video_output(arguments.output, options=render_options)  # before anything slow
    talker = load(**options.to_load_arguments(arguments))
    with options.ProgressBar() as progress:
        return talker.reenact(
            arguments.portrait,
            arguments.video,
            arguments.output,
            render_options,
            progress=progress,
            relative=not arguments.absolute,
            driver_face=arguments.driver_face,
        )
