"""anitalker faces: the faces found in a picture."""

from __future__ import annotations

import argparse
import os
from typing import TypedDict

from anitalker.commands import options

HELP = "the faces found in a picture"


class FaceFacts(TypedDict):
    """One face.

    box: x0, y0, x1, y1 in pixels; score: of the detector, 0 to 1; yaw, pitch, roll: degrees; quality: `size` of the box
    in pixels and `away`, how far the face looks away from the camera, in degrees; doubts: why it may not move well, in
    words; refused: whether rendering would refuse it for them; landmarks: 468 points, x, y and z in pixels.
    """

    box: tuple[float, float, float, float]
    score: float
    yaw: float
    pitch: float
    roll: float
    quality: dict[str, float]
    doubts: list[str]
    refused: bool
    landmarks: list[list[float]]


class FacesFacts(TypedDict):
    """What `--json` prints: the picture, its size in pixels, and its faces, the largest first."""

    picture: str
    width: int
    height: int
    faces: list[FaceFacts]


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("picture")
    options.add_face_backend_option(parser)
    parser.add_argument(
        "--model", default="lite", metavar="NAME|FILE", help="the model that checks the faces (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="with landmarks, as one JSON object")
    options.add_device_option(parser)


def run(arguments: argparse.Namespace) -> FacesFacts:
    """Find the faces; returns the facts for --json."""
    return find_faces(arguments.picture, arguments.face_backend, arguments.device, arguments.model)


def find_faces(
    picture: str | os.PathLike, backend: str = "own", device: str = "auto", model: str | os.PathLike = "lite"
) -> FacesFacts:
    """Find the faces in a picture or video file, with what `model` would say of each before it rendered it."""
    from anitalker.pipeline import load
    from anitalker.portrait import read_portrait

    talker = load(model, device)
    finder = talker.finder(backend)
    pixels, faces, _ = read_portrait(picture, finder, "picture")
    rows: list[FaceFacts] = []
    for face in faces:
        check = talker.model.check_face(face, talker.model.crop(pixels, face), finder)
        rows.append(
            {
                "box": face.box,
                "score": face.score,
                "yaw": face.yaw,
                "pitch": face.pitch,
                "roll": face.roll,
                "quality": face.quality,
                "doubts": [*([check.reason] if check.reason else []), *check.occlusion_warnings],
                "refused": check.rejected,
                "landmarks": face.landmarks.tolist(),
            }
        )
    return {"picture": str(picture), "width": pixels.shape[1], "height": pixels.shape[0], "faces": rows}


def print_summary(facts: FacesFacts) -> None:
    """Print one line for each face, and one for each doubt about it."""
    for index, face in enumerate(facts["faces"]):
        box = ", ".join(f"{value:.0f}" for value in face["box"])
        pose = f"yaw {face['yaw']:.0f}, pitch {face['pitch']:.0f}, roll {face['roll']:.0f} degrees"
        print(f"{index}: box ({box}), {pose}, score {face['score']:.2f}")
        for doubt in face["doubts"]:
            print(f"   {'cannot be animated' if face['refused'] else 'may not move well'}: {doubt}")
    if not facts["faces"]:
        print("no face found")
