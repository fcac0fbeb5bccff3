"""What the marks endure and cost: videos re-encoded, halved, cropped, trimmed; real videos and pictures; PSNR, time.

python -m scripts.study measure_marks --data DATA [--outputs 50] [--real 200]
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
from PIL import Image

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--outputs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each output")
    parser.add_argument("--real", type=int, default=200, help="clips, and as many stills")


def run(arguments: argparse.Namespace) -> int:
    """Measure both and print them as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        report = {"real": real(arguments, Path(folder))} if arguments.real else {}
        print(json.dumps(report), file=sys.stderr, flush=True)
        report |= outputs(arguments, Path(folder)) if arguments.outputs else {}
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


def outputs(arguments: argparse.Namespace, folder: Path) -> dict:
    """Renders, each of another face and voice, marked and attacked -> what was found, PSNR [dB], share of time."""
    talker = load(arguments.model, "cpu")
    voices = sorted((Path(arguments.data) / "speech").glob("*.flac"))
    verdicts = {name: [] for name in ATTACKS}
    psnr, share = [], []
    for number, (_, picture, _) in enumerate(itertools.islice(load_stills(arguments.data, ("val",)), 0, None, 3)):
        if len(psnr) == arguments.outputs:
            break
        speech = read_audio(voices[number % len(voices)])[: round(SAMPLE_RATE * arguments.seconds)]
        start = time.process_time()
        try:
            frames = list(talker.frames(talker.portrait(picture), speech, RenderOptions(seed=number)))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        origin = Generator(talker.name, talker.model.fingerprint, number)
        plain, video = folder / "plain.mp4", folder / "video.mp4"
        write(plain, frames, None)
        work = time.process_time() - start
        mark, start = watermark.Watermarker(), time.process_time()
        marked = [mark(frame) for frame in frames]
        sign_video(plain, video, origin, signing_identity(), video.name)
        share.append((time.process_time() - start) / work)
        errors = [np.square(a.astype(float) - b).mean() for a, b in zip(marked, frames, strict=True)]
        psnr.append(10 * np.log10(255**2 / max(errors)))
        write(video, frames, origin)
        for name, kept in verdicts.items():
            kept.append(verify(attacked(video, name, folder / "attacked.mp4")))
        print(f"outputs {len(psnr)}/{arguments.outputs}", file=sys.stderr, flush=True)
    return {
        "outputs": len(psnr),
        "psnr_min": min(psnr),
        "psnr_mean": float(np.mean(psnr)),
        "marking_share_of_job": float(np.mean(share)),
        "attacks": {name: tally(kept) for name, kept in verdicts.items()},
    }


def write(path: Path, frames: Sequence[np.ndarray], origin: Generator | None) -> None:
    """Frames to an MP4."""
    height, width = frames[0].shape[:2]
    marked = {} if origin is None else {"filters": marks.frame_filters(width, height, False, True)}
    finish = None if origin is None else marks.signing_step(origin)
    with VideoWriter(path, width, height, finish=finish, **marked) as writer:
        for frame in frames:
            writer.write(frame)


def tally(verdicts: Sequence[dict]) -> dict:
    """Of one attack: how many were found, the lowest score, how many verdicts were `intact`."""
    watermarks = [verdict["watermark"] for verdict in verdicts]
    return {
        "files": len(verdicts),
        "watermark_found": sum(mark["found"] for mark in watermarks),
        "lowest_score": min(mark["score"] for mark in watermarks),
        "credentials_intact": sum(verdict["state"] == "intact" for verdict in verdicts),
        "made_by_anitalker": sum(verdict["made_by"] == "anitalker" for verdict in verdicts),
    }


def real(arguments: argparse.Namespace, folder: Path) -> dict:
    """Videos and pictures that are not ours: how often the watermark is found, and the highest scores."""
    clip, still = folder / "clip.mp4", folder / "still.png"
    scores: dict[str, list[float]] = {"clips": [], "stills": []}
    for stored in itertools.islice(load_clips(arguments.data, ("val", "train")), 0, 3 * arguments.real, 3):
        clip.write_bytes(stored.mp4)
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
