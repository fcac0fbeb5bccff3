"""anitalker say: a portrait speaks a text."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from anitalker.commands import options as flags
from anitalker.commands.render import say as say

HELP = "a portrait speaks a text, with a voice synthesised on this machine"


def add(parser: flags.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("portrait", help="picture with a face")
    parser.add_argument("text", help="the text to speak; - reads it from stdin")
    parser.add_argument(
        "--voice",
        metavar="LANGUAGE|FILE.onnx",
        help="a language of espeak-ng (en, en-us, de, cmn ...), or a piper voice file (default: guessed from the text)",
    )
    flags.output_flag(parser, "OUT.mp4")
    flags.motion_flags(parser)
    flags.picture_flags(parser)
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Speak the text, then render the video; returns the facts for --json, with the voice that spoke."""
    from anitalker.files import check_output
    from anitalker.media import text_to_speech
    from anitalker.pipeline import load

    options = flags.options_of(arguments)
    check_output(arguments.output)  # before anything slow
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    with tempfile.TemporaryDirectory(prefix="anitalker-") as folder, flags.Progress() as progress:
        speech = Path(folder) / "speech.wav"
        speech_facts = text_to_speech.speak(text, speech, arguments.voice, progress)
        talker = load(**flags.model_of(arguments))
        facts = talker.render(arguments.portrait, speech, arguments.output, options, progress=progress)
    return {**facts, "voice": speech_facts["voice"]}
