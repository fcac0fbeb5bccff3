"""One whole job of the published size in a process of its own, ours or the public original's: speech in, video out.

    python -m scripts.benchmarks.whole ours SPEECH OUT.mp4 [float32|bfloat16]
    python -m scripts.benchmarks.whole reference SPEECH OUT.mp4 CHECKOUT

Prints one JSON object: seconds by the clock and of the processor from loaded (made-up) weights to the video, children
included, and the peak memory in MB. Both make motion by mfcc_full_control, each in its usual sampler steps, and frames
of 256x256 pixels.

Ours is what `render` does: the face found, marks and credentials written. The reference is its demo.py step by step,
with its networks; where it takes packages for plain work (librosa and python_speech_features for cepstra, moviepy to
hand frames to ffmpeg) ours do that work, which only favours it. Its frames go through PNG files as in the demo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anitalker.benchmark import PORTRAIT
from anitalker.config import RenderOptions
from anitalker.files import EXAMPLES
from anitalker.media.video import ffmpeg, read_audio
from anitalker.pipeline import Talker
from anitalker.runtime.device import peak_memory
from encoders import mfcc
from scripts.benchmarks import ours
from scripts.benchmarks.reference import STEPS, Reference
from scripts.benchmarks.report import DTYPES, Report, ratio


def run_ours(speech: Path, output: Path, form: str):
    """A job: the pipeline, in one number format."""
    model = ours.Original(torch.device("cpu")).model
    model.__dict__["constants"] = model.stage_one.dec.constants(DTYPES[form])
    options = RenderOptions(frame="crop")
    return lambda: Talker(model).render(EXAMPLES / PORTRAIT, speech, output, options)


def run_reference(speech: Path, output: Path, checkout: str):
    """A job: the demo's four times the portrait, cepstra, motion, frame by frame to PNG, PNG to H.264."""
    theirs = Reference(checkout)
    if theirs.stage_two is None:
        raise SystemExit(f"error: the reference's motion needs espnet on PYTHONPATH ({theirs.missing})")

    def work() -> None:
        theirs.encode()
        frames = len(mfcc.features(torch.from_numpy(read_audio(speech)))) // 4
        theirs.move(frames, STEPS)  # made-up weights: what it moves is not what it is told, its time is
        with tempfile.TemporaryDirectory() as folder:
            for number, row in enumerate(ours.motion(frames)):
                (frame,) = theirs.frames(row[None])
                Image.fromarray(frame).save(Path(folder) / f"{number:06d}.png")
            pictures = ["-framerate", "25", "-i", f"{folder}/%06d.png", "-i", str(speech)]
            coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", str(output)]
            subprocess.run([ffmpeg(), "-v", "error", "-y", *pictures, *coded], check=True)

    return work


def compare(speech: Path, seconds: float, rounds: int, checkout: str | None, report: Report) -> None:
    """Rows of whole jobs, each in a fresh process, taken in turn; ratios where a checkout is given."""
    jobs = [("original", form, ["ours", str(speech), str(speech.with_suffix(".mp4")), form]) for form in DTYPES]
    if checkout:
        jobs.append(("reference", "float32", ["reference", *jobs[0][2][1:3], checkout]))
    spent: list[list[dict]] = [[] for _ in jobs]
    for _ in range(rounds):
        for (model, form, arguments), measured in zip(jobs, spent, strict=True):
            command = [sys.executable, "-m", "scripts.benchmarks.whole", *arguments]
            process = subprocess.run(command, capture_output=True, text=True)
            if process.returncode:
                reason = (process.stderr.strip() or "no reason given").splitlines()[-1]
                report.facts["not_run"] = f"whole job of {model} {form}: {reason}"
                return
            measured.append(json.loads(process.stdout.splitlines()[-1]))
    times = [np.array([[job["clock"], job["processor"]] for job in measured]) for measured in spent]
    for (model, form, _), measured, seconds_spent in zip(jobs, spent, times, strict=True):
        report.add(model, f"whole job, {seconds:g} s", form, seconds_spent, "per second", seconds)
        report.rows[-1]["peak_mb"] = max(job["peak_mb"] or 0.0 for job in measured)
        if checkout and model == "original":
            report.ratios[f"whole job {form}"] = ratio(times[-1], seconds_spent)


def main(arguments: list[str]) -> None:
    kind, speech, output, more = arguments
    work = {"ours": run_ours, "reference": run_reference}[kind](Path(speech), Path(output), more)
    clock, before = time.perf_counter(), os.times()
    work()
    clock, after = time.perf_counter() - clock, os.times()
    processor = sum(after[:4]) - sum(before[:4])  # user and system, of this process and of its children
    print(json.dumps({"clock": clock, "processor": processor, "peak_mb": peak_memory()}))


if __name__ == "__main__":
    main(sys.argv[1:])
