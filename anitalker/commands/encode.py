"""anitalker encode: motion and identity codes of a video."""

from __future__ import annotations

import argparse

from anitalker.commands import options as flags
from anitalker.config import FPS

HELP = "motion and identity codes of a video, for reuse and research"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("video")
    flags.output_flag(parser, "MOTION.safetensors")
    flags.backend_flag(parser)
    flags.shared_flags(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Read the codes and write them -> facts for --json."""
    from anitalker.files import check_output
    from anitalker.motion.motion_files import write_codes
    from anitalker.pipeline import load

    output = check_output(arguments.output, ".safetensors")
    talker = load(**flags.model_of(arguments))
    with flags.Progress() as progress:
        motion, identity = talker.encode(arguments.video, backend=arguments.face_backend, progress=progress)
    write_codes(output, motion, identity)
    return {"output": str(output), "frames": len(motion), "fps": FPS, "model": talker.name}


def say(made: dict) -> None:
    """One line."""
    print(f"{made['output']}: {made['frames']} frames")
