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

import torch
from PIL import Image

from anitalker.config import RenderOptions
from anitalker.media.video import ffmpeg, read_audio
from anitalker.runtime.device import peak_memory
from scripts.benchmarks import ours
from scripts.benchmarks.machine import Times, ratio
from scripts.benchmarks.report import Report

FORMATS = ("float32", "bfloat16")


def run_ours(speech: Path, output: Path, form: str) -> dict:
    """The pipeline, in one number format."""
    from anitalker.pipeline import Talker

    model = ours.Original(torch.device("cpu")).model
    model.__dict__["constants"] = model.stage_one.dec.constants(ours.DTYPES[form])
    work = lambda: Talker(model).render(ours.EXAMPLES / "portrait.webp", speech, output, RenderOptions(frame="crop"))  # noqa: E731
    return measured(work)


def run_reference(speech: Path, output: Path, checkout: str) -> dict:
    """The demo: four times the portrait, cepstra, motion, frame by frame to PNG, PNG to H.264."""
    from encoders import mfcc
    from scripts.benchmarks.reference import STEPS, Reference

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

    return measured(work)


def measured(work) -> dict:
    """Clock and processor time of a call, its children's included."""
    clock, processor = time.perf_counter(), _processor()
    work()
    spent = time.perf_counter() - clock, _processor() - processor
    return {"clock": spent[0], "processor": spent[1], "peak_mb": peak_memory()}


def _processor() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def compare(speech: Path, seconds: float, rounds: int, checkout: str | None, report: Report) -> None:
    """Rows of whole jobs, each in a fresh process, taken in turn; ratios where a checkout is given."""
    jobs = {f"ours {form}": ("ours", form) for form in FORMATS}
    jobs |= {"reference": ("reference", checkout)} if checkout else {}
    times, peaks = {name: Times() for name in jobs}, dict.fromkeys(jobs, 0.0)
    for _ in range(rounds):
        for name, (kind, more) in jobs.items():
            command = [sys.executable, "-m", "scripts.benchmarks.whole", kind, str(speech)]
            done = subprocess.run([*command, str(speech.with_suffix(".mp4")), more], capture_output=True, text=True)
            if done.returncode:
                reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
                report.facts["not_run"] = f"whole job of {name}: {reason}"
                break
            spent = json.loads(done.stdout.splitlines()[-1])
            times[name].clock.append(spent["clock"])
            times[name].processor.append(spent["processor"])
            peaks[name] = max(peaks[name], spent["peak_mb"] or 0.0)
    for name, (kind, more) in jobs.items():
        if not times[name].clock:
            continue
        model, form = ("original", more) if kind == "ours" else ("reference", "float32")
        report.add(model, f"whole job, {seconds:g} s", form, times[name], "per second", seconds)
        report.rows[-1]["peak_mb"] = peaks[name]
        if kind == "ours" and checkout and len(times["reference"].clock) == len(times[name].clock):
            report.ratios[f"whole job {form}"] = ratio(times["reference"], times[name])


def main(arguments: list[str]) -> None:
    kind, speech, output, *more = arguments
    run = {"ours": run_ours, "reference": run_reference}[kind]
    print(json.dumps(run(Path(speech), Path(output), *more)))


if __name__ == "__main__":
    main(sys.argv[1:])
