"""Evaluate a model on a data folder: self-reenactment, codes against labels, closing lips, speech-driven lips.

    python -m scripts.evaluate --data DIR --split val [--model lite] [--json] [--out FOLDER]

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

PARTS = ("reenactment", "codes", "silence", "audio")
CLOSED = 0.025


def progress(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


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


def evaluate(subject, arguments: argparse.Namespace) -> dict:
    """All parts that were asked for -> the report, whose keys are a contract (docs/evaluation.md)."""
    from scripts.evaluation.reenactment import CodeAccuracy, SelfReenactment
    from scripts.evaluation.speaking import AudioDriven, is_spoken

    started = time.monotonic()
    codes, accuracy = {}, CodeAccuracy(subject)
    for clip in eval_clips(arguments.data, arguments.split, arguments.clips, speech=False):
        codes[clip.row["id"]] = subject.codes(clip.frames)
        accuracy.add(clip, codes[clip.row["id"]])
    if not codes:
        raise InputError(
            f"split {arguments.split!r} has no clips in {arguments.data}; see the split column of its manifest"
        )
    progress(f"codes of {len(codes)} clips read, {time.monotonic() - started:.0f} s")
    report: dict = {"model": subject.name, "split": arguments.split, "clips": len(codes)}
    mean_code = np.mean([c.mean(0) for c in codes.values()], 0)
    reenactment = SelfReenactment(subject, mean_code, arguments.stride)
    audio = AudioDriven(subject, arguments.samples, arguments.stride)
    for number, clip in enumerate(eval_clips(arguments.data, arguments.split, arguments.clips), 1):
        if "reenactment" in arguments.parts:
            reenactment.add(clip, codes[clip.row["id"]])
            save_sheet(arguments.out, clip.row["id"], reenactment.sheet)
        if "audio" in arguments.parts and is_spoken(clip.row):
            audio.add(clip, codes[clip.row["id"]])
        progress(f"clip {number}/{len(codes)} {clip.row['id']}, {time.monotonic() - started:.0f} s")
    if "reenactment" in arguments.parts:
        report |= reenactment.result()
    if "codes" in arguments.parts:
        report["codes"] = accuracy.result()
    if "audio" in arguments.parts and audio.truth:
        report["audio_driven"] = audio.result()
    if "silence" in arguments.parts:
        report |= silence(subject, arguments)
    report |= {"faces_lost": subject.lost, "stride": arguments.stride, "seconds": round(time.monotonic() - started, 1)}
    return report


def silence(subject, arguments: argparse.Namespace) -> dict:
    """The open-mouth stills of the split, filled up from train where the split has too few that are clearly open."""
    from anitalker.landmarks import lip_opening
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


def bars(report: dict) -> list[tuple[str, float, str, bool]]:
    """The project's own bars: (what, value, limit, reached) for every part in the report."""
    rows = []

    def at_least(what: str, value: float, limit: float) -> None:
        rows.append((what, value, f">= {limit:g}", value >= limit))

    def at_most(what: str, value: float, limit: float) -> None:
        rows.append((what, value, f"<= {limit:g}", value <= limit))

    if "gain" in report:
        at_least("gain on copying, whole crop (dB)", report["gain"]["psnr"]["mean"], 2.2)
        at_least("gain on copying, face (dB)", report["gain"]["psnr_face"]["mean"], 6)
        at_most("landmark distance over copying's", report["gain"]["landmark_ratio"], 1 / 3)
        at_least("cost of the mean code, face (dB)", report["mean_code"]["cost_psnr_face"], 2)
    if "codes" in report:
        for name, value in report["codes"]["pose_r2"].items():
            at_least(f"pose R2, {name}", value, 0.9)
        at_least("lip opening from codes, r", report["codes"]["lip_r"], 0.9)
    if "open_mouths" in report:
        at_most("open mouths in silence, mean opening after 1 s", report["open_mouths"]["opening_after_1s"], CLOSED)
    if "audio_driven" in report:
        at_least("lip correlation", report["audio_driven"]["lip_correlation"], 0.4)
        at_least("spread of the opening", report["audio_driven"]["spread_ratio"], 0.7)
        at_most("spread of the opening", report["audio_driven"]["spread_ratio"], 1.3)
        at_most("lips in silence over lips in speech", report["audio_driven"]["silence_ratio"], 0.15)
    return rows


def show(report: dict) -> None:
    """The report as a table for people."""
    for part, values in report.items():
        print(f"{part}: {values}" if not isinstance(values, dict) else part)
        for key, value in values.items() if isinstance(values, dict) else ():
            print(f"  {key:24} {value:.4f}" if isinstance(value, float) else f"  {key:24} {value}")
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
    parser.add_argument("--clips", type=int, default=None, help="only the first n clips: a trial, not a score")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", default=None, help="folder for contact sheets and report.json")
    arguments = parser.parse_args(argv)
    for name in ("samples", "stride", "stills"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} is {getattr(arguments, name)}; allowed is 1 or more")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        from scripts.evaluation.talker import TalkerSubject

        report = evaluate(TalkerSubject(arguments.model, arguments.device), arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.out:
        Path(arguments.out).mkdir(parents=True, exist_ok=True)
        (Path(arguments.out) / "report.json").write_text(json.dumps(report, indent=1))
    if arguments.json:
        print(json.dumps(report))
    else:
        show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
