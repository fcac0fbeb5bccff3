"""What the marks endure and cost: videos re-encoded, halved, cropped, trimmed; real videos and pictures; PSNR, time.

python -m scripts.measure_marks --data DATA [--outputs 50] [--real 200]
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anitalker.config import InputError, RenderOptions
from anitalker.media.video import ffmpeg, probe, read_audio
from anitalker.media.writer import VideoWriter
from anitalker.pipeline import load
from anitalker.provenance import marks, watermark
from anitalker.provenance.credentials import Generator, sign_video, signing_identity
from anitalker.provenance.verify import verify
from scripts.training.data import load_clips, load_stills

# What happens to videos, as arguments of ffmpeg; {start} and {length} are the middle half in seconds.
ATTACKS = {
    "as made": None,
    "CRF 28": ["-crf", "28"],
    "half size": ["-vf", "scale=trunc(iw/4)*2:trunc(ih/4)*2"],
    "crop to 80%": ["-vf", "crop=trunc(iw*0.4)*2:trunc(ih*0.4)*2"],
    "middle half": ["-ss", "{start}", "-t", "{length}"],
    "half size, CRF 28": ["-vf", "scale=trunc(iw/4)*2:trunc(ih/4)*2", "-crf", "28"],  # beyond what is asked
    "mirrored": ["-vf", "hflip"],
}


def attacked(made: Path, name: str, target: Path) -> Path:
    """The video after one of ATTACKS."""
    if ATTACKS[name] is None:
        return made
    seconds = probe(made).seconds
    given = [part.format(start=seconds / 4, length=seconds / 2) for part in ATTACKS[name]]
    subprocess.run([ffmpeg(), "-v", "error", "-y", "-i", str(made), *given, str(target)], check=True)
    return target


def outputs(arguments: argparse.Namespace, folder: Path) -> dict:
    """Renders, each of another face and voice, marked and attacked -> what was found, PSNR [dB], share of time."""
    talker = load(arguments.model, "cpu")
    voices = sorted((Path(arguments.data) / "speech").glob("*.flac"))
    seen = {name: [] for name in ATTACKS}
    psnr, share, count = [], [], 0
    for number, (_, picture, _) in enumerate(itertools.islice(load_stills(arguments.data, ("val",)), 0, None, 3)):
        if count == arguments.outputs:
            break
        speech = read_audio(voices[number % len(voices)])[: round(16_000 * arguments.seconds)]
        start = time.process_time()
        try:
            frames = list(talker.frames(talker.portrait(picture), speech, RenderOptions(seed=number)))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        origin = Generator(talker.name, talker.model.fingerprint, number)
        plain, made = folder / "plain.mp4", folder / "made.mp4"
        write(plain, frames, None)
        work = time.process_time() - start
        mark, start = watermark.Watermarker(), time.process_time()
        marked = [mark(frame) for frame in frames]
        sign_video(plain, made, origin, signing_identity(), made.name)
        share.append((time.process_time() - start) / work)
        psnr.append(
            min(
                10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)) for a, b in zip(marked, frames, strict=True)
            )
        )
        write(made, frames, origin)
        for name, found in seen.items():
            found.append(verify(attacked(made, name, folder / "attacked.mp4")))
        count += 1
        print(f"outputs {count}/{arguments.outputs}", file=sys.stderr, flush=True)
    return {
        "outputs": count,
        "psnr_min": min(psnr),
        "psnr_mean": float(np.mean(psnr)),
        "marking_share_of_job": float(np.mean(share)),
        "attacks": {name: tally(found) for name, found in seen.items()},
    }


def write(path: Path, frames: Sequence[np.ndarray], origin: Generator | None) -> None:
    """Frames to an MP4."""
    height, width = frames[0].shape[:2]
    marked = {} if origin is None else {"filters": marks.frame_filters(width, height, False, True)}
    finish = None if origin is None else marks.signing_step(origin)
    with VideoWriter(path, width, height, finish=finish, **marked) as writer:
        for frame in frames:
            writer.write(frame)


def tally(found: Sequence[dict]) -> dict:
    """Of one attack: how many were found, the lowest score, how many verdicts were `intact`."""
    marks = [one["watermark"] for one in found]
    return {
        "files": len(found),
        "watermark_found": sum(mark["found"] for mark in marks),
        "lowest_score": min(mark["score"] for mark in marks),
        "credentials_intact": sum(one["state"] == "intact" for one in found),
        "made_by_anitalker": sum(one["made_by"] == "anitalker" for one in found),
    }


def real(arguments: argparse.Namespace, folder: Path) -> dict:
    """Videos and pictures that are not ours: how often the watermark is found, and the highest scores."""
    from PIL import Image

    clip, still = folder / "clip.mp4", folder / "still.png"
    scores: dict[str, list[float]] = {"clips": [], "stills": []}
    for one in itertools.islice(load_clips(arguments.data, ("val", "train")), 0, None, 3):
        if len(scores["clips"]) == arguments.real:
            break
        clip.write_bytes(one.mp4)
        scores["clips"].append(verify(clip)["watermark"]["score"])
    for _, picture, _ in itertools.islice(load_stills(arguments.data, ("val", "train")), arguments.real):
        Image.fromarray(picture).save(still)
        scores["stills"].append(verify(still)["watermark"]["score"])
    return {
        kind: {
            "files": len(values),
            "false_alarms": sum(value >= watermark.THRESHOLD for value in values),
            "highest_score": max(values),
        }
        for kind, values in scores.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(prog="python -m scripts.measure_marks", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--outputs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each output")
    parser.add_argument("--real", type=int, default=200, help="clips, and as many stills")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = {"real": real(arguments, Path(folder))} if arguments.real else {}
        print(json.dumps(report), file=sys.stderr, flush=True)
        report |= outputs(arguments, Path(folder)) if arguments.outputs else {}
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
