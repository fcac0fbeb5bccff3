"""What the marks endure and cost: videos re-encoded, scaled, cropped, trimmed; real videos and pictures; PSNR, time.

python -m scripts.study measure_marks --data DATA [--outputs 50] [--side 256] [--real 200]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.media.video import ffmpeg, probe, read_audio
from anitalker.media.writer import VideoWriter
from anitalker.pipeline import load
from anitalker.provenance import marks, watermark, watermark_search
from anitalker.provenance.credentials import Generator, sign_file
from anitalker.provenance.identity import signing_identity
from anitalker.provenance.payload import new_identifier
from anitalker.provenance.verify import verify
from scripts.evaluation.metrics import psnr, squared_error
from scripts.training.data import load_clips, load_stills

SECONDS = 2.4  # of each output
HALF = "scale=trunc(iw/4)*2:trunc(ih/4)*2"
# What happens to videos, as arguments of ffmpeg; {start} and {length} are the middle half in seconds.
ATTACKS = {
    "as made": None,
    "CRF 28": ["-crf", "28"],
    "half size": ["-vf", HALF],
    "crop to 80%": ["-vf", "crop=trunc(iw*0.4)*2:trunc(ih*0.4)*2"],
    "middle half": ["-ss", "{start}", "-t", "{length}"],
    "half size, CRF 28": ["-vf", HALF, "-crf", "28"],
    "mirrored": ["-vf", "hflip"],
    "screenshot at 1.5": ["-vf", "scale=trunc(iw*0.75)*2:trunc(ih*0.75)*2:flags=bilinear", "-frames:v", "1"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--outputs", type=int, default=50)
    parser.add_argument("--side", type=int, default=256, help="pixels to which the stills, of 256, are enlarged")
    parser.add_argument("--real", type=int, default=200, help="clips, and as many stills")


def run(arguments: argparse.Namespace) -> int:
    """Measure both and print them as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        report = {"real": real(arguments.data, arguments.real, Path(folder))} if arguments.real else {}
        report |= outputs(arguments.data, arguments.outputs, arguments.side, Path(folder)) if arguments.outputs else {}
    print(json.dumps(report, indent=2))
    return 0


def attacked(video: Path, name: str, target: Path) -> Path:
    """The video after one of ATTACKS."""
    if ATTACKS[name] is None:
        return video
    seconds = probe(video).seconds
    changes = [text.format(start=seconds / 4, length=seconds / 2) for text in ATTACKS[name]]
    subprocess.run([ffmpeg(), "-v", "error", "-y", "-i", str(video), *changes, str(target)], check=True)
    return target


def outputs(data: str, count: int, side: int, folder: Path) -> dict:
    """Renders, each of another face and voice, marked and attacked -> verdicts, PSNR in dB, share of time."""
    talker = load("lite", "cpu")
    voices = sorted((Path(data) / "speech").glob("*.flac"))
    verdicts: dict[str, list[dict]] = {name: [] for name in ATTACKS}
    read: dict[str, list[bool | None]] = {name: [] for name in ATTACKS}  # the identifier: right, wrong, or not at all
    ratios, shares = [], []
    plain, video = folder / "plain.mp4", folder / "video.mp4"
    for number, (_, picture, _) in enumerate(islice(load_stills(data, ("val",)), 0, None, 3)):
        if len(shares) == count:
            break
        picture = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
        speech = read_audio(voices[number % len(voices)])[: round(SAMPLE_RATE * SECONDS)]
        start = time.process_time()
        try:
            frames = list(talker.frames(talker.portrait(picture), speech, RenderOptions(seed=number)))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        origin = Generator(talker.name, talker.model.fingerprint, number, identifier=new_identifier())
        write(plain, frames, None)
        rendered, mark = time.process_time(), watermark.Watermarker()
        marked = [mark(frame) for frame in frames]
        sign_file(plain, video, origin, signing_identity(), video.name)
        shares.append((time.process_time() - rendered) / (rendered - start))
        ratios.append(psnr(max(squared_error(a, b).mean() for a, b in zip(marked, frames, strict=True))))
        write(video, frames, origin)
        for name, kept in verdicts.items():
            kept.append(verify(attacked(video, name, folder / ("shot.png" if "shot" in name else "attacked.mp4"))))
            pixels = kept[-1]["identifiers"]["pixels"]
            read[name].append(None if pixels is None else pixels == origin.identifier)
    return {
        "outputs": len(shares),
        "side": side,
        "psnr_min": min(ratios),
        "psnr_mean": float(np.mean(ratios)),
        "marking_share_of_job": float(np.mean(shares)),
        "attacks": {name: tally(kept, read[name]) for name, kept in verdicts.items()},
    }


def write(path: Path, frames: Sequence[np.ndarray], origin: Generator | None) -> None:
    """Frames to an MP4, with the marks of an origin if there is one."""
    height, width = frames[0].shape[:2]
    marked = {"filters": marks.frame_filters(width, height, False, True, origin.identifier)} if origin else {}
    with VideoWriter(path, width, height, finish=marks.signing_step(origin) if origin else None, **marked) as writer:
        for frame in frames:
            writer.write(frame)


def tally(verdicts: Sequence[dict], read: Sequence[bool | None]) -> dict:
    """Of one attack: how many watermarks were found, identifiers right and wrong, the lowest score, `intact` files."""
    watermarks = [verdict["watermark"] for verdict in verdicts]
    return {
        "files": len(verdicts),
        "watermark_found": sum(mark["found"] for mark in watermarks),
        "identifier_right": read.count(True),
        "identifier_wrong": read.count(False),
        "lowest_score": min(mark["score"] for mark in watermarks),
        "credentials_intact": sum(verdict["state"] == "intact" for verdict in verdicts),
    }


def real(data: str, count: int, folder: Path) -> dict:
    """Videos and pictures that are not ours: how often the watermark is found, and the highest scores."""
    file = {"clips": folder / "clip.mp4", "stills": folder / "still.png"}
    scores: dict[str, list[float]] = {kind: [] for kind in file}
    for stored in islice(load_clips(data, ("val", "train")), 0, 3 * count, 3):
        file["clips"].write_bytes(stored.mp4)
        scores["clips"].append(verify(file["clips"])["watermark"]["score"])
    for _, picture, _ in islice(load_stills(data, ("val", "train")), count):
        Image.fromarray(picture).save(file["stills"])
        scores["stills"].append(verify(file["stills"])["watermark"]["score"])
    report = {}
    for kind, values in scores.items():
        alarms = sum(value >= watermark_search.THRESHOLD for value in values)
        report[kind] = {"files": len(values), "false_alarms": alarms, "highest_score": max(values)}
    return report
