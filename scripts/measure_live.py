"""How long a live face takes to answer: `anitalker serve` in a process of its own, clients beside it, one JSON object.

    python -m scripts.measure_live [--seconds 60] [--parts rtp browser] [--size 256] [--portrait FILE] [--out FILE.json]

rtp: an aiortc client whose microphone says a syllable a second; from the packet that left to the sound that came back,
and to the frame whose lips open. browser: the same in Chromium with the live
page (fake microphone from a WAV). p50 and p95 in milliseconds, frames a second, drops, and how far pictures are behind
sound, beyond the lead that lips have by themselves. Needs idle cores to mean something.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anitalker.config import InputError
from anitalker.files import EXAMPLES
from anitalker.runtime.machine import describe_machine
from scripts.benchmarks import live_browser, live_rtp
from scripts.benchmarks.live_lead import natural_lead
from scripts.benchmarks.syllables import Answers

START_SECONDS = 60.0  # that the server may take


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part (default: %(default)g)")
    parser.add_argument("--parts", nargs="+", choices=("rtp", "browser"), default=["rtp", "browser"])
    parser.add_argument("--size", type=int, default=256, help="of the video's shorter side (default: %(default)s)")
    parser.add_argument("--portrait", type=Path, default=EXAMPLES / "portrait.webp")
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args(arguments)
    try:
        facts = measure(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(facts, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Start the server, run the parts, and end it."""
    import torch

    facts: dict[str, Any] = {"machine": describe_machine(torch.device("cpu")), "size": options.size}
    lead = lips_behind_voice(natural_lead(options.portrait, options.size))
    facts["natural_lips_behind_voice_ms"] = round(1000 * float(np.median(lead)), 1)
    url = f"http://127.0.0.1:{options.port}"
    command = [sys.executable, "-m", "anitalker", "serve", "--port", str(options.port), "--device", "cpu"]
    environment = {name: value for name, value in os.environ.items() if name != "ANITALKER_TOKEN"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(url, server)
            if "rtp" in options.parts:
                answers = asyncio.run(live_rtp.measure(url, options.portrait, options.seconds, options.size))
                facts["rtp"] = summary(answers, lead)
            if "browser" in options.parts:
                with tempfile.TemporaryDirectory() as folder:
                    answers = live_browser.measure(url, options.portrait, options.seconds, Path(folder))
                facts["browser"] = summary(answers, lead)
        finally:
            server.terminate()
            server.wait(20)
    return facts


def wait_for(url: str, server: subprocess.Popen) -> None:
    """Wait until the server answers. InputError if it ends, or takes too long."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz"):
                return
        except OSError:
            time.sleep(0.2)
    raise InputError(f"the server did not start at {url}; try another --port, and see what it says")


def lips_behind_voice(answers: Answers) -> list[float]:
    """Seconds of each syllable."""
    voice, lips = answers.voice_delays(), answers.lip_delays()
    return [lips[n] - voice[n] for n in lips if n in voice]


def summary(answers: Answers, lead: Sequence[float]) -> dict[str, Any]:
    """Percentiles of the delays in milliseconds, frames a second, and the skew: how far pictures are behind sound,
    beyond the `lead` that lips have by themselves."""

    def percentiles(seconds: list[float]) -> dict[str, float] | None:
        if not seconds:
            return None
        p50, p95 = np.percentile(seconds, (50, 95)) * 1000
        return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}

    voice, lips = answers.voice_delays(), answers.lip_delays()
    natural = float(np.median(lead)) if len(lead) else 0.0
    return {
        "syllables": len(answers.said),
        "voice_ms": percentiles(list(voice.values())),
        "lips_ms": percentiles(list(lips.values())),
        "skew_ms": percentiles([behind - natural for behind in lips_behind_voice(answers)]),
        "frames_per_second": round(answers.frame_rate(), 2),
        "figures": answers.figures,
    }


if __name__ == "__main__":
    sys.exit(main())
