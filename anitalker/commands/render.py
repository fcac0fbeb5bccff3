"""anitalker render: a portrait speaks a recording."""

from __future__ import annotations

import argparse

from anitalker.commands import options as flags

HELP = "a portrait speaks a recording"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument("speech", help="any audio, or video with sound")
    parser.add_argument(
        "--speech-for",
        action="append",
        default=[],
        metavar="INDEX=FILE",
        help="this face (an index of `anitalker faces`) speaks a recording of its own; may be repeated",
    )
    flags.output_flag(parser, "OUT.mp4")
    flags.motion_flags(parser)
    flags.picture_flags(parser)
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Make the video -> facts for --json."""
    from anitalker.files import check_output
    from anitalker.media.soundtrack import parse_speech_for
    from anitalker.pipeline import load

    options, own = flags.options_of(arguments), parse_speech_for(arguments.speech_for)
    check_output(arguments.output)  # before anything slow
    talker = load(**flags.model_of(arguments))
    with flags.Progress() as progress:
        return talker.render(arguments.portrait, arguments.speech, arguments.output, options, progress, own)


def say(made: dict) -> None:
    """The facts for people; reenact and say speak alike."""
    size = f"{made['width']}x{made['height']}"
    print(f"{made['output']}: {made['frames']} frames, {made['seconds']:.2f} s, {size}, seed {made['seed']}")
