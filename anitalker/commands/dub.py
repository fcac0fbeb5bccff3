"""anitalker dub: other words for an existing video."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

from anitalker.commands import options
from anitalker.commands.render import print_summary as print_summary
from anitalker.config import ORIGINAL_SIZE, DubOptions

if TYPE_CHECKING:
    from anitalker.rendering import RenderFacts

HELP = "people in a video say other words"
DEFAULTS = {option.name: option.default for option in fields(DubOptions)}
ALLOWED = {option.name: option.metadata["allowed"] for option in fields(DubOptions)}


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("video", help="video with a face")
    parser.add_argument("speech", nargs="?", help="any audio, or video with sound; not with --segments")
    options.add_output_option(parser, "OUT.mp4")
    options.add_speech_for_option(parser)
    parser.add_argument(
        "--segments",
        default=DEFAULTS["segments"],
        metavar="FILE.srt|csv",
        help="lines to dub: start, end, recording and face of each; the rest stays as filmed",
    )
    group = parser.add_argument_group("time and sound")
    group.add_argument(
        "--fit",
        choices=ALLOWED["fit"],
        default=DEFAULTS["fit"],
        help="speech and video of different lengths: the shorter decides (trim), the video plays forwards and "
        "backwards (loop), its last frame holds (hold), or it plays faster or slower (speed) (default: %(default)s)",
    )
    group.add_argument("--from", dest="start", type=float, default=DEFAULTS["start"], metavar="SECONDS")
    group.add_argument("--to", dest="stop", type=float, default=DEFAULTS["stop"], metavar="SECONDS")
    group.add_argument(
        "--original-sound",
        type=float,
        default=DEFAULTS["original_sound"],
        metavar="GAIN",
        help="the video's own sound under the speech, 0 to 2 (default: 0, left out)",
    )
    group = parser.add_argument_group("faces and lips")
    options.add_face_option(group)
    group.add_argument(
        "--follow",
        choices=ALLOWED["follow"],
        default=DEFAULTS["follow"],
        help="what of SPEECH moves the face: its sound, or, of the face that it shows, the lips, the expression (lips, "
        "lids and brows) or all (the head, too) (default: %(default)s)",
    )
    group.add_argument(
        "--lips",
        type=float,
        default=options.DEFAULTS["lips"],
        help="how far the lips leave the filmed ones, 0 to 2 (default: 1)",
    )
    options.add_also_option(group, "PHOTO|PERSON.safetensors")
    options.add_seed_option(group)
    group = parser.add_argument_group("picture")
    options.add_size_option(group, ORIGINAL_SIZE)
    options.add_encoding_options(parser)
    options.add_marks_options(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> RenderFacts:
    """Dub the video; returns the facts for --json."""
    from anitalker.files import check_output
    from anitalker.media.soundtrack import parse_speech_for
    from anitalker.pipeline import load

    render_options = options.to_render_options(arguments)
    dubbing = DubOptions(**{name: vars(arguments)[name] for name in DEFAULTS})
    speech_for = parse_speech_for(arguments.speech_for)
    check_output(arguments.output)  # before anything slow
    talker = load(**options.to_load_arguments(arguments))
    with options.ProgressBar() as progress:
        return talker.dub(
            arguments.video,
            arguments.speech,
            arguments.output,
            render_options,
            dubbing,
            progress,
            speech_for,
        )
