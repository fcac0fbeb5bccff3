"""anitalker render: a portrait speaks a recording."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from anitalker.commands import options

if TYPE_CHECKING:
    from anitalker.rendering import RenderFacts

HELP = "a portrait speaks a recording"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument("speech", help="any audio, or video with sound")
    options.add_speech_for_option(parser)
    options.add_video_output_option(parser)
    options.add_motion_options(parser)
    options.add_picture_options(parser)
    options.add_encoding_options(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> RenderFacts:
    """Render the video; returns the facts for --json."""
    from anitalker.media.formats import check_video_output
    from anitalker.media.soundtrack import parse_speech_for
    from anitalker.pipeline import load

    render_options = options.to_render_options(arguments)
    speech_for = parse_speech_for(arguments.speech_for)
    check_video_output(arguments.output, options=render_options)  # before anything slow
    talker = load(**options.to_load_arguments(arguments))
    with options.ProgressBar() as progress:
        return talker.render(
            arguments.portrait, arguments.speech, arguments.output, render_options, progress, speech_for
        )


def print_summary(facts: RenderFacts) -> None:
    """Print one line: file, length, size and seed. `reenact`, `say` and `sample` print the same."""
    size = f"{facts['width']}x{facts['height']}"
    print(f"{facts['output']}: {facts['frames']} frames, {facts['seconds']:.2f} s, {size}, seed {facts['seed']}")
