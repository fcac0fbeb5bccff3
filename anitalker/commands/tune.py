"""anitalker tune: an avatar of one's own, from a video of somebody who talks to the camera."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from anitalker.commands import options
from anitalker.person.tune_options import TuneOptions

if TYPE_CHECKING:
    from anitalker.person.tuning import TuneFacts

HELP = "an avatar of your own, from a minute of video"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO|PHOTO|FOLDER",
        help="one person who talks to the camera, 20 s to 5 minutes in all; or 2 to 9 photos",
    )
    options.add_output_option(parser, "PERSON.safetensors")
    parser.add_argument(
        "--consent",
        metavar="WHO",
        default=TuneOptions.consent,
        help="who agreed to this avatar; stored in the file and in the credentials of every video (required)",
    )
    parser.add_argument(
        "--portrait",
        metavar="SECONDS|FILE",
        default=TuneOptions.portrait,
        help="the frame at this time of the first video, or a picture (default: the best frame)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=TuneOptions.minutes,
        help="of training at most; Ctrl+C keeps the best so far, the same command goes on (default: %(default)s)",
    )
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> TuneFacts:
    """Make the person file; returns the facts for --json."""
    from anitalker.person.person_file import check_consent

    check_consent(arguments.consent)  # before anything slow
    wanted = TuneOptions(arguments.consent, arguments.portrait, arguments.minutes)
    from anitalker.pipeline import load

    talker = load(**options.to_load_arguments(arguments))
    with options.ProgressBar() as progress:
        return talker.tune(arguments.videos, arguments.output, wanted, progress)


def print_summary(facts: TuneFacts) -> None:
    """Print what the file holds, and what the training brought."""
    state = "" if facts["finished"] else "; broken off: the same command goes on"
    sources = f"{facts['seconds']:.0f} s of video, {facts['speech_seconds']:.0f} s of them with speech"
    sources = f"{facts['photos']} photos" if facts["photos"] else sources
    print(f"{facts['output']}: {facts['bytes'] / 1e6:.1f} MB, of {sources}{state}")
    print(f"  who has the file can see the portrait and {facts['references']} pictures of the mouth in it")
    if facts["photos"]:
        return
    if not facts["speech_seconds"]:
        print("  no speech: lips, head and rest move as usual; a video with sound teaches how they move")
    for name in ("mouth", "lips"):
        scores = facts[name]
        gain = "as shipped" if scores is None else f"error on held-out video {scores[0]:.3f} -> {scores[1]:.3f}"
        print(f"  {name}: {gain}")
