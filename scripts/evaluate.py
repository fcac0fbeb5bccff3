"""Evaluate a model, or another system's videos, on a data folder: reenactment, lips, identity, silence, HAL.

    python -m scripts.evaluate --data DIR --split val [--model lite] [--json] [--out FOLDER]
    python -m scripts.evaluate --data DIR --split val --outputs VIDEOS --parts audio
    python -m scripts.evaluate --videos FILE... --parts sync [--json]

The protocol is docs/evaluation.md. With --json exactly one JSON object goes to stdout; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from anitalker.config import InputError
from scripts.evaluation import codes, dub, lip_score, mouth, reenactment, speaking, stills
from scripts.evaluation.clips import ExternalVideos
from scripts.evaluation.pipeline_adapter import FaceReader, ModelUnderTest, face_reader
from scripts.evaluation.report import page, write
from scripts.evaluation.session import Session
from scripts.evaluation.sync_videos import judge_videos

SUITES: dict[str, Callable[[Session], dict]] = {  # in the order in which they run
    "reenactment": reenactment.run_self,
    "mouth": mouth.run,
    "codes": codes.run_accuracy,
    "audio": speaking.run,
    "lips": lip_score.run,
    "dub": dub.run,
    "silence": stills.run_silence,
    "cross": reenactment.run_cross,
    "held": stills.run_held_still,
    "hal": codes.run_hal,
}
OF_VIDEOS = ("reenactment", "audio")  # those that can score another system's videos
OF_FILES = ("sync",)  # what --videos are scored by


def evaluate(
    model: ModelUnderTest | FaceReader, arguments: argparse.Namespace, videos: ExternalVideos | None = None
) -> dict:
    """All suites that were asked for -> the report, whose keys are a contract (docs/evaluation.md)."""
    session = Session(model, arguments, videos)
    count = sum(1 for _ in session.clips())
    if not count:
        raise InputError(
            f"{videos.folder} has no ID.mp4 for a clip of split {arguments.split!r}; see the manifest's ids"
            if videos
            else f"split {arguments.split!r} has no clips in {arguments.data}; see the split column of its manifest"
        )
    report = {"model": model.name, "split": arguments.split, "clips": count}
    for name in SUITES:
        if name in arguments.parts:
            report |= run_suite(name, session)
    if videos:
        report["missing"] = videos.missing
    report |= {"faces_lost": model.lost, "stride": arguments.stride, "samples": arguments.samples}
    return report | {"seconds": round(time.monotonic() - session.started, 1)}


def run_suite(name: str, session: Session) -> dict:
    """A suite's share of the report, kept in OUT/parts; --resume takes it from there if the settings are the same."""
    if not session.arguments.out:
        return SUITES[name](session)
    path = Path(session.arguments.out) / "parts" / f"{name}.json"
    settings = {k: v for k, v in vars(session.arguments).items() if k not in ("out", "parts", "json", "resume")}
    settings["weights"] = getattr(session.model, "sha256", None)
    if session.arguments.resume and path.is_file():
        stored = json.loads(path.read_text())
        if stored["settings"] == settings:
            return stored["result"]
    result = SUITES[name](session)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": settings, "result": result}))
    return result


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="lite", help="registry name, folder or file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--samples", type=int, default=5, help="single samples per clip in the speech-driven part")
    parser.add_argument("--stride", type=int, default=2, help="render and score every n-th frame")
    parser.add_argument("--stills", type=int, default=20, help="open-mouth stills")
    parser.add_argument("--faces", type=int, default=40, help="stills of the held-still part")
    parser.add_argument("--clips", type=int, default=None, help="only the first n clips: a trial, not a score")
    parser.add_argument("--parts", nargs="+", choices=(*SUITES, *OF_FILES, "all"), default=["all"])
    parser.add_argument(
        "--whole",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="speech: render every frame of the first sample, for closures, blinks, jitter and background",
    )
    parser.add_argument("--lips", metavar="DIR", help="lips: also the speakers of a folder of speech beside lip motion")
    parser.add_argument("--stream", action="store_true", help="lips: the same clips through the streaming path as well")
    parser.add_argument(
        "--render",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="lips: read rendered frames; --no-render: read the motion codes alone, in a fraction of the time",
    )
    parser.add_argument(
        "--landmarks",
        choices=("own", "mediapipe"),
        default="own",
        help="dub: read lips with MediaPipe as well, which is installed by hand",
    )
    parser.add_argument("--outputs", metavar="DIR", help="score another system's videos, ID.mp4 per clip, instead")
    parser.add_argument(
        "--videos", nargs="+", metavar="FILE", help="sync of lips and sound in any videos; without --data"
    )
    parser.add_argument("--features", help="perceptual distance: .npz of SqueezeNet, vgg19, TorchScript LPIPS, none")
    parser.add_argument(
        "--identity-network", default="verifier", help="verifier, a file, a TorchScript recognition network, or none"
    )
    parser.add_argument("--inception", metavar="FILE", help="TorchScript Inception: adds FID")
    parser.add_argument("--i3d", metavar="FILE", help="TorchScript I3D: adds FVD")
    parser.add_argument("--syncnet", metavar="FILE", help="syncnet_v2.model: adds LSE-C and LSE-D")
    parser.add_argument("--out", default=None, help="folder for contact sheets, report.json and report.md")
    parser.add_argument("--resume", action="store_true", help="take parts from --out that are done with these settings")
    arguments = parser.parse_args(argv)
    for name in ("samples", "stride", "stills", "faces"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} is {getattr(arguments, name)}; allowed is 1 or more")
    if arguments.resume and not arguments.out:
        parser.error("--resume needs --out, the folder of the evaluation that was broken off")
    if not arguments.data and not arguments.videos:
        parser.error("neither --data DIR nor --videos FILE... was given; one is required")
    source, possible = ("--outputs", OF_VIDEOS) if arguments.outputs else ("--data", tuple(SUITES))
    if arguments.videos:
        source, possible = "--videos", OF_FILES
    if "all" in arguments.parts:
        arguments.parts = list(possible)
    if impossible := [name for name in arguments.parts if name not in possible]:
        parser.error(f"{source} came with --parts {' '.join(impossible)}; allowed are {' '.join(possible)}")
    if (arguments.lips or arguments.stream) and "lips" not in arguments.parts:
        parser.error(f"--lips and --stream came with --parts {' '.join(arguments.parts)}; add lips to the parts")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        if arguments.videos:
            report = {"sync": judge_videos(arguments.videos, arguments.device)}
        elif arguments.outputs:
            videos = ExternalVideos(arguments.outputs)
            report = evaluate(face_reader(videos.folder.name, arguments.device), arguments, videos)
        else:
            report = evaluate(ModelUnderTest(arguments.model, arguments.device), arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.out:
        print(f"{write(report, arguments.out)} written", file=sys.stderr)
    print(json.dumps(report) if arguments.json else page(report, []))
    return 0


if __name__ == "__main__":
    sys.exit(main())
