"""What the marks endure and cost: videos re-encoded, scaled, cropped, trimmed; real videos and pictures; PSNR, time.

python -m scripts.study measure_marks --data DATA [--outputs 50] [--side 256] [--real 200] [--keep DIR]

With --keep every file's result stays in a folder as JSON, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.media.video import ffmpeg, probe, read_audio
from anitalker.media.writer import VideoWriter
from anitalker.pipeline import Talker, load
from anitalker.provenance import marks, watermark
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
    parser.add_argument("--keep", metavar="DIR", help="folder of results, one file each; those that are there stay")


def run(arguments: argparse.Namespace) -> int:
    """Measure both and print them as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(arguments.keep or folder))
        report = {"real": real(arguments.data, arguments.real, Path(folder), results)} if arguments.real else {}
        if arguments.outputs:
            report |= outputs(arguments.data, arguments.outputs, arguments.side, Path(folder), results)
    print(json.dumps(report, indent=2))
    return 0


class Results:
    """Results as JSON files in a folder, made once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        file = self._folder / f"{name}.json"
        if not file.exists():
            result = json.dumps(compute())
            unfinished = file.with_suffix(".part")
            unfinished.write_text(result)
            unfinished.replace(file)
        return json.loads(file.read_text())


def attacked(video: Path, name: str, target: Path) -> Path:
    """The video after one of ATTACKS."""
    if ATTACKS[name] is None:
        return video
    seconds = probe(video).seconds
    changes = [text.format(start=seconds / 4, length=seconds / 2) for text in ATTACKS[name]]
    subprocess.run([ffmpeg(), "-v", "error", "-y", "-i", str(video), *changes, str(target)], check=True)
    return target


def outputs(data: str, count: int, side: int, folder: Path, results: Results) -> dict:
    """Renders, each of another face and voice, marked and attacked -> verdicts, PSNR in dB, share of time."""
    talker = load("lite", "cpu")
    voices = sorted((Path(data) / "speech").glob("*.flac"))
    measured: list[dict] = []
    for number, (_, picture, _) in enumerate(islice(load_stills(data, ("val",)), 0, None, 3)):
        if len(measured) == count:
            break
        compute = partial(output, talker, picture, voices[number % len(voices)], number, side, folder)
        if (result := results.get(f"output-{side}-{number:03d}", compute)) is not None:
            measured.append(result)
    return {
        "outputs": len(measured),
        "side": side,
        "psnr_min": min(result["psnr"] for result in measured),
        "psnr_mean": float(np.mean([result["psnr"] for result in measured])),
        "marking_share_of_job": float(np.mean([result["share"] for result in measured])),
        "attacks": {name: tally([result["attacks"][name] for result in measured]) for name in ATTACKS},
    }


def output(talker: Talker, picture: np.ndarray, voice: Path, number: int, side: int, folder: Path) -> dict | None:
    """Measure one render of a picture, uint8 [h,w,3]; None where no face is found in it."""
    picture = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
    speech = read_audio(voice)[: round(SAMPLE_RATE * SECONDS)]
    start = time.process_time()
    try:
        frames = list(talker.frames(talker.portrait(picture), speech, RenderOptions(seed=number)))
    except InputError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    origin = Generator(talker.name, talker.model.fingerprint, number, identifier=new_identifier())
    plain, video = folder / "plain.mp4", folder / "video.mp4"
    write(plain, frames, None)
    rendered, mark = time.process_time(), watermark.Watermarker()
    marked = [mark(frame) for frame in frames]
    sign_file(plain, video, origin, signing_identity(), video.name)
    share = (time.process_time() - rendered) / (rendered - start)
    write(video, frames, origin)
    verdicts = {}
    for name in ATTACKS:
        verdict = verify(attacked(video, name, folder / ("shot.png" if "shot" in name else "attacked.mp4")))
        pixels = verdict["identifiers"]["pixels"]
        verdicts[name] = {
            "found": verdict["watermark"]["found"],
            "score": verdict["watermark"]["score"],
            "right": None if pixels is None else pixels == origin.identifier,
            "intact": verdict["state"] == "intact",
        }
    error = max(squared_error(a, b).mean() for a, b in zip(marked, frames, strict=True))
    return {"psnr": psnr(error), "share": share, "attacks": verdicts}


def write(path: Path, frames: Sequence[np.ndarray], origin: Generator | None) -> None:
    """Frames to an MP4, with the marks of an origin if there is one."""
    height, width = frames[0].shape[:2]
    marked = {"filters": marks.frame_filters(width, height, False, True, origin.identifier)} if origin else {}
    with VideoWriter(path, width, height, finish=marks.signing_step(origin) if origin else None, **marked) as writer:
        for frame in frames:
            writer.write(frame)


def tally(verdicts: Sequence[dict]) -> dict:
    """Of one attack: how many watermarks were found, identifiers right and wrong, the lowest score, `intact` files."""
    read = [verdict["right"] for verdict in verdicts]
    return {
        "files": len(verdicts),
        "watermark_found": sum(verdict["found"] for verdict in verdicts),
        "identifier_right": read.count(True),
        "identifier_wrong": read.count(False),
        "lowest_score": min(verdict["score"] for verdict in verdicts),
        "credentials_intact": sum(verdict["intact"] for verdict in verdicts),
    }


def real(data: str, count: int, folder: Path, results: Results) -> dict:
    """Videos and pictures that are not ours: how often the watermark is found, and the highest scores."""
    clip, still = folder / "clip.mp4", folder / "still.png"
    found: dict[str, list[dict]] = {"clips": [], "stills": [], "clips of other generators": []}
    for number, stored in enumerate(islice(load_clips(data, ("val", "train")), 0, 3 * count, 3)):
        clip.write_bytes(stored.mp4)
        kind = "clips of other generators" if stored.row["generated"] == "yes" else "clips"
        found[kind].append(results.get(f"real-clip-{number:03d}", lambda: verify(clip)["watermark"]))
    for number, (_, picture, _) in enumerate(islice(load_stills(data, ("val", "train")), count)):
        Image.fromarray(picture).save(still)
        found["stills"].append(results.get(f"real-still-{number:03d}", lambda: verify(still)["watermark"]))
    return {
        kind: {
            "files": len(detections),
            "false_alarms": sum(detection["found"] for detection in detections),
            "highest_score": max((detection["score"] for detection in detections), default=None),
        }
        for kind, detections in found.items()
    }
