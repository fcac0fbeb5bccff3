"""anitalker encode: motion and identity codes of a video."""

from __future__ import annotations

import argparse
from typing import TypedDict

from anitalker.commands import options
from anitalker.config import FPS

HELP = "motion and identity codes of a video, for reuse and research"


class EncodeFacts(TypedDict):
    """What `--json` prints: the written file, its number of frames, frames per second, and the model's name."""

    output: str
    frames: int
    fps: int
    model: str


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("video")
    options.add_output_option(parser, "MOTION.safetensors")
    options.add_driver_face_option(parser)
    options.add_face_backend_option(parser)
    options.add_common_options(parser)


def run(arguments: argparse.Namespace) -> EncodeFacts:
    """Read the codes of the video and write them; returns the facts for --json."""
    from anitalker.files import check_output
    from anitalker.motion.motion_files import write_motion_file
    from anitalker.pipeline import load

    output = check_output(arguments.output, ".safetensors")
    talker = load(**options.to_load_arguments(arguments))
    with options.ProgressBar() as progress:
        motion, identity = talker.encode(
            arguments.video, arguments.driver_face, arguments.face_backend, progress=progress
        )
    write_motion_file(output, motion, identity)
    return {"output": str(output), "frames": len(motion), "fps": FPS, "model": talker.name}


def print_summary(facts: EncodeFacts) -> None:
    """Print the file and its number of frames."""
    print(f"{facts['output']}: {facts['frames']} frames")
