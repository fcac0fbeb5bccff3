"""anitalker sample: motion drawn from the prior, without speech. A portrait idles, or changes its expression."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from anitalker.commands import options
from anitalker.commands.render import print_summary as print_summary
from anitalker.config import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from anitalker.models.lite import Lite, LiteFace
    from anitalker.pipeline import Talker
    from anitalker.rendering import RenderFacts

HELP = "a portrait idles, or turns from one expression to another: motion drawn from the prior"
MOTION_SUFFIX = ".safetensors"


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("portrait", help="picture with a face")
    options.add_video_output_option(parser)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the video (default: %(default)g)")
    group = parser.add_argument_group("motion")
    options.add_seed_option(group)
    group.add_argument(
        "--temperature", type=float, default=1.0, help="how far it strays: 0 only blinks, 1 as real clips, at most 1.5"
    )
    group.add_argument("--loop", action="store_true", help="the end leads over to the beginning, as web pages show it")
    options.add_strength_options(group)
    options.add_expression_options(group)
    group.add_argument(
        "--between",
        nargs=2,
        metavar=("A", "B"),
        help="instead of idling: from A's expression to B's and back, on this portrait. Each a picture with a face (of "
        "anybody), or a file of `anitalker encode`, whose first frame is taken, with FILE:N its frame N",
    )
    group.add_argument("--linear", action="store_true", help="straight in the codes, not in the prior's latent space")
    options.add_picture_options(parser)
    options.add_encoding_options(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> RenderFacts:
    """Render the video; returns the facts for --json."""
    from anitalker.media.formats import check_video_output
    from anitalker.motion import idle
    from anitalker.pipeline import load

    render_options = options.to_render_options(arguments)
    frames = idle.check_length(arguments.seconds, arguments.temperature)
    if arguments.linear and not arguments.between:
        raise InputError("--linear came without --between; it says how to go from A to B")
    check_video_output(
        arguments.output, arguments.portrait, *arguments.between or (), options=render_options
    )  # before anything slow
    talker = load(**options.to_load_arguments(arguments))
    prior = talker.model.prior
    if prior is None and not arguments.linear:
        raise InputError(f"model {talker.name} has no motion prior to draw from; take --model lite")
    ends = [expression_code(talker, source, arguments.face_backend) for source in arguments.between or ()]
    portrait = talker.prepare(arguments.portrait, render_options)
    if ends:
        start, end = ends
        path = None if arguments.linear else prior
        motions = [
            idle.interpolate_expressions(path, face.motion.cpu(), start, end, frames).to(face.motion)
            for face in portrait.faces
        ]
    else:
        model = cast("Lite", talker.model)  # the only family with a prior
        motions = [
            model.idle(face, frames, render_options, arguments.temperature, render_options.seed + n, arguments.loop)
            for n, face in enumerate(cast("tuple[LiteFace, ...]", portrait.faces))
        ]
    with options.ProgressBar() as progress:
        return talker.animate(portrait, motions, arguments.output, render_options, progress)


def expression_code(talker: Talker, source: str, backend: str) -> Tensor:
    """Return the motion code [1,20] of a picture's face, or of a frame of a motion file (FILE, or FILE:FRAME).

    InputError for anything else.
    """
    import torch

    from anitalker.motion.motion_files import read_motion_file

    file, colon, number = source.rpartition(":")
    if not (colon and number.isdigit() and file.endswith(MOTION_SUFFIX)):
        file, number = source, "0"
    if not file.endswith(MOTION_SUFFIX):
        return talker.portrait(file, "largest", backend).faces[0].motion.cpu()
    codes = read_motion_file(file)
    if int(number) >= len(codes):
        raise InputError(f"{file!r} has no frame {number}; its frames are 0 to {len(codes) - 1}")
    return torch.from_numpy(codes[int(number)][None])
