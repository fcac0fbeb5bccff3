"""anitalker faces: the faces found in a picture."""

from __future__ import annotations

import argparse

from anitalker.commands import options as flags

HELP = "the faces found in a picture"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("picture")
    flags.backend_flag(parser)
    parser.add_argument("--model", default="lite", metavar="NAME|FILE", help="whose doubts (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="with landmarks, as one JSON object")
    flags.device_flag(parser)


def run(arguments: argparse.Namespace) -> dict:
    """Find them -> facts for --json."""
    from anitalker.pipeline import find_faces

    return find_faces(arguments.picture, arguments.face_backend, arguments.device, arguments.model)


def say(found: dict) -> None:
    """One line for each face, and one for what rendering would say of it."""
    for index, face in enumerate(found["faces"]):
        box = ", ".join(f"{value:.0f}" for value in face["box"])
        turned = f"yaw {face['yaw']:.0f}, pitch {face['pitch']:.0f}, roll {face['roll']:.0f} degrees"
        print(f"{index}: box ({box}), {turned}, score {face['score']:.2f}")
        for doubt in face["doubts"]:
            print(f"   {'cannot be animated' if face['refused'] else 'may not move well'}: {doubt}")
    if not found["faces"]:
        print("no face found")
