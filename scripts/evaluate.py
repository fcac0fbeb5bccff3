"""Evaluate a model, or another system's videos, on a data folder: reenactment, lips, identity, silence, HAL.

    python -m scripts.evaluate --data DIR --split val [--model lite] [--json] [--out FOLDER]
    python -m scripts.evaluate --data DIR --split val --outputs VIDEOS --parts audio

The protocol is docs/evaluation.md. With --json exactly one JSON object goes to stdout; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from scripts.evaluation.bars import bars
from scripts.evaluation.parts import progress

PARTS = ("reenactment", "codes", "silence", "audio", "cross", "held", "hal")
OF_OUTPUTS = ("reenactment", "audio")  # what can be said of videos alone


def eval_clips(data_dir: str, split: str, limit: int | None, speech: bool = True) -> Iterator:
    """The clips of a split in the manifest's shard order, decoded one at a time."""
    from scripts.evaluation.subject import EvalClip
    from scripts.training.data import decode_frames, decode_speech, load_clips

    for number, clip in enumerate(load_clips(data_dir, (split,))):
        if limit is not None and number >= limit:
            return
        frames = decode_frames(clip.mp4).copy()  # writable, as torch wants it
        count = min(len(frames), len(clip.landmarks))
        heard = decode_speech(clip.mp4) if speech and clip.row["has_audio"] == "yes" else np.zeros(0, np.float32)
        yield EvalClip(clip.row, frames[:count], clip.landmarks[:count], heard)


def evaluate(subject, arguments: argparse.Namespace, outputs=None) -> dict:
    """All parts that were asked for -> the report, whose keys are a contract (docs/evaluation.md)."""
    from scripts.evaluation import parts

    def clips(speech: bool) -> Iterator:
        return eval_clips(arguments.data, arguments.split, arguments.clips, speech=speech)

    session = parts.Session(subject, arguments, clips, outputs)
    count = sum(1 for _ in session.clips(speech=False))
    if not count:
        raise InputError(
            f"split {arguments.split!r} has no clips in {arguments.data}; see the split column of its manifest"
            if outputs is None
            else f"{outputs.folder} has no ID.mp4 for a clip of split {arguments.split!r}; see the manifest's ids"
        )
    report: dict = {"model": subject.name, "split": arguments.split, "clips": count}
    runners = {
        "reenactment": parts.run_reenactment,
        "codes": parts.run_codes,
        "audio": parts.run_audio,
        "silence": lambda session: silence(session.subject, arguments),
        "cross": parts.run_cross,
        "held": parts.run_held,
        "hal": parts.run_hal,
    }
    store = parts.Store(arguments.out, settings(subject, arguments), arguments.resume)
    for name, run in runners.items():
        if name in arguments.parts:
            result = store.known(name)
            if result is None:
                result = run(session)
                store.keep(name, result)
            report |= result
    report |= {"missing": outputs.missing} if outputs else {}
    return report | {
        "faces_lost": subject.lost,
        "stride": arguments.stride,
        "samples": arguments.samples,
        "seconds": round(time.monotonic() - session.started, 1),
    }


def settings(subject, arguments: argparse.Namespace) -> dict:
    """What a part's result depends on."""
    kept = {key: value for key, value in vars(arguments).items() if key not in ("out", "parts", "json", "resume")}
    return kept | {"weights": getattr(subject, "sha256", None)}


def silence(subject, arguments: argparse.Namespace) -> dict:
    """The open-mouth stills of the split, filled up from train where the split has too few that are clearly open."""
    from anitalker.faces.landmarks import lip_opening
    from scripts.evaluation.speaking import OPEN_MOUTH, OpenMouthStills, widest
    from scripts.training.data import load_stills

    def stills(split: str) -> list:
        found = ((image, points) for _, image, points in load_stills(arguments.data, (split,)))
        return widest([s for s in found if lip_opening(s[1]) >= OPEN_MOUTH], arguments.stills)

    chosen = stills(arguments.split)
    borrowed = stills("train")[: arguments.stills - len(chosen)] if len(chosen) < arguments.stills else []
    if not chosen + borrowed:
        return {}
    part, frames = OpenMouthStills(subject, arguments.stride), []
    for image, points in chosen + borrowed:
        part.add(image, points)
        frames.append((image, part.last))
    progress(f"{len(frames)} open mouths in silence")
    save_sheet(arguments.out, "open-mouths", [np.array(column) for column in zip(*frames, strict=True)], columns=20)
    return {"open_mouths": part.result() | {"from_train": len(borrowed)}}


def save_sheet(folder: str | None, name: str, rows: Sequence[np.ndarray], columns: int = 8) -> None:
    """With --out: true above made, as FOLDER/NAME.png."""
    from scripts.contact_sheet import evenly, save, sheet

    if folder:
        picks = evenly(len(rows[0]), columns)
        labelled = [(label, row[picks]) for label, row in zip((f"{name}   true", "made"), rows, strict=True)]
        save(sheet(labelled), Path(folder) / f"{name}.png")


def show(report: dict) -> None:
    """The report as a table for people."""
    from scripts.evaluation.report import flat

    for part, values in report.items():
        print(f"{part}: {values}" if not isinstance(values, dict) else part)
        for key, value, interval in flat(values) if isinstance(values, dict) else ():
            print(f"  {key:44} {value:>10}  {interval}")
    for what, value, limit, reached in bars(report):
        print(f"{'reached' if reached else 'MISSED ':8}{what:48} {value:8.3f}  {limit}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="lite", help="registry name, folder or file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--samples", type=int, default=5, help="single samples per clip in the speech-driven part")
    parser.add_argument("--stride", type=int, default=2, help="render and score every n-th frame")
    parser.add_argument("--stills", type=int, default=20, help="open-mouth stills")
    parser.add_argument("--faces", type=int, default=40, help="stills of the held-still part")
    parser.add_argument("--clips", type=int, default=None, help="only the first n clips: a trial, not a score")
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, "all"), default=["all"])
    parser.add_argument(
        "--whole",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="speech: render every frame of the first sample, for closures, blinks, jitter and background",
    )
    parser.add_argument("--outputs", metavar="DIR", help="score another system's videos, ID.mp4 per clip, instead")
    parser.add_argument("--features", help="perceptual distance: .npz of SqueezeNet, vgg19, TorchScript LPIPS, none")
    parser.add_argument(
        "--identity-network", default="verifier", help="verifier, a file, a TorchScript recognition network, or none"
    )
    parser.add_argument("--inception", metavar="FILE", help="TorchScript Inception: adds FID")
    parser.add_argument("--i3d", metavar="FILE", help="TorchScript I3D: adds FVD")
    parser.add_argument("--syncnet", metavar="FILE", help="syncnet_v2.model: adds LSE-C and LSE-D")
    parser.add_argument("--out", default=None, help="folder for contact sheets, report.json and report.html")
    parser.add_argument("--resume", action="store_true", help="take parts from --out that are done with these settings")
    arguments = parser.parse_args(argv)
    for name in ("samples", "stride", "stills", "faces"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} is {getattr(arguments, name)}; allowed is 1 or more")
    if arguments.resume and not arguments.out:
        parser.error("--resume needs --out, the folder of the evaluation that was broken off")
    possible = OF_OUTPUTS if arguments.outputs else PARTS
    if "all" in arguments.parts:
        arguments.parts = list(possible)
    if impossible := [part for part in arguments.parts if part not in possible]:
        parser.error(f"--outputs came with --parts {' '.join(impossible)}; allowed are {' '.join(possible)}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        report = evaluate(*chosen_subject(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.out:
        from scripts.evaluation.report import write

        page = write(report, arguments.out)
        (page.parent / "report.json").write_text(json.dumps(report, indent=1))
        progress(f"{page} written")
    if arguments.json:
        print(json.dumps(report))
    else:
        show(report)
    return 0


def chosen_subject(arguments: argparse.Namespace) -> tuple:
    """(subject, arguments, outputs) for `evaluate`: a model, or a reader of faces for other systems' videos."""
    from scripts.evaluation import talker

    if not arguments.outputs:
        return talker.TalkerSubject(arguments.model, arguments.device), arguments
    from scripts.evaluation.outputs import FolderOutputs

    outputs = FolderOutputs(arguments.outputs)
    return talker.face_reader(outputs.folder.name, arguments.device), arguments, outputs


if __name__ == "__main__":
    sys.exit(main())
