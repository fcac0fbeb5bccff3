"""Whole jobs on a card, with H.264 from the CPU and from NVENC; the tests that need a card; all stages one by one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from anitalker.benchmark import enlarge, write_speech
from anitalker.config import RenderOptions
from anitalker.media import encoder as encoding
from anitalker.media.video import ffmpeg, run_ffmpeg
from anitalker.runtime.device import choose_device, peak_gpu_memory
from scripts import benchmark
from scripts.benchmarks import ours
from scripts.benchmarks.card import SKIPPED, Results
from scripts.benchmarks.card_drawing import LARGE, example_picture

ROOT = Path(__file__).parents[2]
JOB_SECONDS = 10.0  # of speech
CARD_VARIABLE = "ANITALKER_TEST_CARD"  # read by tests/conftest.py
SIGNERS = ("c2pa", "cryptography")  # packages; without them videos are written without marks


def measure_jobs(results: Results, device_name: str, tiny: bool) -> None:
    """10 s of speech to a video of 256 and of 1080 pixels, by both encoders, after a short job that warms up."""
    ffmpeg()  # first: without it there is no job
    lite = ours.Lite(choose_device(device_name))
    signed = all(importlib.util.find_spec(name) for name in SIGNERS)
    options = RenderOptions(marks=signed)
    encoders = {"x264": False}
    if encoding.HARDWARE["h264"] in encoding.encoder_arguments("cuda", run_ffmpeg):
        encoders["NVENC"] = True
    else:
        results.add(
            "jobs", {"encoder": "NVENC", "reason": "ffmpeg does not list h264_nvenc, or a trial with it failed"}
        )
    with tempfile.TemporaryDirectory() as folder:
        for size in (256, LARGE):
            lite.take(enlarge(example_picture(), size))
            for encoder, works in encoders.items():
                with mock.patch.object(encoding, "_nvenc_works", lambda *_, works=works: works):
                    for seconds in (1.0,) if tiny else (1.0, JOB_SECONDS):
                        speech = write_speech(ours.speech(seconds), Path(folder) / "speech.wav")
                        start = time.perf_counter()
                        facts = lite.talker.render(lite.portrait, speech, Path(folder) / "job.mp4", options)
                        clock = time.perf_counter() - start
                row = {"encoder": encoder, "size": size, "speech_seconds": facts["seconds"], "seconds": clock}
                row |= {"real_time_factor": clock / facts["seconds"], "marks": signed, **facts["timings"]}
                results.add("jobs", row | {"peak_gpu_mb": peak_gpu_memory(lite.device)})


def measure_tests(results: Results, device_name: str, tiny: bool) -> int:
    """pytest -m cuda, file by file. Returns a status: 1 where a test failed."""
    files = sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if "mark.cuda" in path.read_text(encoding="utf-8")
    )
    environment, statuses = os.environ | {CARD_VARIABLE: device_name}, set()
    for file in files:
        start = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", file]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        status, counts = pytest_status(done.returncode, done.stdout + done.stderr)
        statuses.add(status)
        if done.returncode:
            print(done.stdout[-3000:] + done.stderr[-1000:])
        results.add("tests", {"file": file, "status": status, "tests": counts, "seconds": time.perf_counter() - start})
    if "failed" in statuses:
        print("a test failed")
        return 1
    if "skipped" in statuses:
        reasons = [row["tests"] for row in results.facts["tests"] if row["status"] == "skipped"]
        print("; ".join(dict.fromkeys(reasons)))
        return SKIPPED
    return 0


def pytest_status(returncode: int, output: str) -> tuple[str, str]:
    """Whether a run of pytest was done, failed, or skipped for a missing package; and its last line, or the package."""
    lines = [line for line in output.splitlines() if line.strip()]
    if missing := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", output):
        return "skipped", f"the package {missing[1]} is missing"
    if missing := re.search(r"No module named (pytest)", output):
        return "skipped", f"the package {missing[1]} is missing"
    return "failed" if returncode else "done", lines[-1] if lines else ""


def measure_stages(results: Results, device_name: str, tiny: bool) -> int:
    """python -m scripts.benchmark --device DEVICE --quick, whose facts become the entry `stages`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stages.json"
        status = benchmark.main(["--device", device_name, "--tiny" if tiny else "--quick", "--json", str(file)])
        if file.is_file():
            results.save("stages", json.loads(file.read_text()))
    return status
