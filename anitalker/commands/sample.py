"""anitalker sample: motion out of the prior, without speech: a portrait idles, or goes between expressions."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from anitalker.commands import options as flags
from anitalker.commands.render import say as say
from anitalker.config import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from anitalker.pipeline import Talker

HELP = "a portrait idles, or turns from one expression to another: motion drawn from the prior"
MOTION_FILE = ".safetensors"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("portrait", help="picture with a face")
    flags.output_flag(parser, "OUT.mp4")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the video (default: %(default)g)")
    group = parser.add_argument_group("motion")
    flags.seed_flag(group)
    group.add_argument(
        "--temperature", type=float, default=1.0, help="how far it strays: 0 only blinks, 1 as real clips, at most 1.5"
    )
    flags.factor_flags(group)
    group.add_argument(
        "--between",
        nargs=2,
        metavar=("A", "B"),
        help="instead of idling: from A's expression to B's and back, on this portrait. Each a picture with a face (of "
        "anybody), or a file of `anitalker encode`, whose first frame is taken, with FILE:N its frame N",
    )
    group.add_argument("--linear", action="store_true", help="straight in the codes, not in the prior's latent space")
    flags.picture_flags(parser)
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Make the video -> facts for --json."""
    from anitalker.motion import idle
    from anitalker.pipeline import keep_inputs, load

    options = flags.options_of(arguments)
    frames = idle.check_length(arguments.seconds, arguments.temperature)
    if arguments.linear and not arguments.between:
        raise InputError("--linear came without --between; it says how to go from A to B")
    keep_inputs(arguments.output, arguments.portrait, *arguments.between or ())  # before anything slow
    talker = load(**flags.model_of(arguments))
    if talker.model.prior is None and not arguments.linear:
        raise InputError(f"model {talker.name} has no motion prior to draw from; take --model lite")
    ends = [expression(talker, name, arguments.face_backend) for name in arguments.between or ()]
    portrait = talker.portrait(arguments.portrait, options.face, options.face_backend, enhance=options.enhance)
    if ends:
        way = None if arguments.linear else talker.model.prior
        motions = [idle.between(way, one.motion.cpu(), *ends, frames).to(one.motion) for one in portrait.faces]
    else:
        motions = [
            talker.model.idle(one, frames, options, arguments.temperature, options.seed + n)
            for n, one in enumerate(portrait.faces)
        ]
    with flags.Progress() as progress:
        return talker.animate(portrait, motions, arguments.output, options, progress)


def expression(talker: Talker, name: str, backend: str) -> Tensor:
    """A picture, or a motion file with or without :FRAME -> motion code [1,20]; InputError for anything else."""
    import torch

    from anitalker.motion.motion_files import read_codes

    file, colon, number = name.rpartition(":")
    if not (colon and number.isdigit() and file.endswith(MOTION_FILE)):
        file, number = name, "0"
    if not file.endswith(MOTION_FILE):
        return talker.portrait(file, "largest", backend).faces[0].motion.cpu()
    codes = read_codes(file)
    if int(number) >= len(codes):
        raise InputError(f"{file!r} has no frame {number}; its frames are 0 to {len(codes) - 1}")
    return torch.from_numpy(codes[int(number)][None])
