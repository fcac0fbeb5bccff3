"""anitalker say: a portrait speaks a text."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.commands import options
from anitalker.commands.render import print_summary as print_summary

if TYPE_CHECKING:
    from anitalker.rendering import RenderFacts

    class SayFacts(RenderFacts):
        """What `--json` prints: what `render` prints, and the voice that spoke."""

        voice: str


HELP = "a portrait speaks a text, with a voice synthesised on this machine"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument("text", help="the text to speak; - reads it from stdin")
    parser.add_argument(
        "--voice",
        metavar="LANGUAGE|FILE.onnx",
        help="a language of espeak-ng (en, en-us, de, cmn ...), or a piper voice file (default: guessed from the text)",
    )
    options.add_video_output_option(parser)
    options.add_motion_options(parser)
    options.add_picture_options(parser)
    options.add_encoding_options(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> SayFacts:
    """Speak the text, then render the video; returns the facts for --json."""
    from anitalker.media import text_to_speech
    from anitalker.media.formats import check_video_output
    from anitalker.pipeline import load

    render_options = options.to_render_options(arguments)
    check_video_output(arguments.output, options=render_options)  # before anything slow
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    with tempfile.TemporaryDirectory(prefix="anitalker-") as folder, options.ProgressBar() as progress:
        speech = Path(folder) / "speech.wav"
        speech_facts = text_to_speech.speak(text, speech, arguments.voice, progress)
        talker = load(**options.to_load_arguments(arguments))
        facts = talker.render(arguments.portrait, speech, arguments.output, render_options, progress=progress)
    return {**facts, "voice": speech_facts["voice"]}
