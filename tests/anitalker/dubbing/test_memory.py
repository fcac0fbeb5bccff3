"""Ten minutes of video in the memory of half a minute; `make soak` runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from anitalker.media.video import ffmpeg

pytestmark = pytest.mark.soak
RATE = 5  # frames per second: memory depends on frames, not on seconds
LIMIT_MB, GROWTH_MB = 900, 120  # the growth was 82 when it was measured: features of all of the speech at once


def test_ten_minutes_take_the_memory_of_half_a_minute(film, speech, tmp_path):
    frames = film([60 + t for t in range(40)])
    height, width = frames.shape[1:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE), "-i", "pipe:0"]
    short = tmp_path / "short.mp4"
    scale = ["-vf", "scale=1178:720", "-c:v", "libx264", "-crf", "18"]
    subprocess.run([ffmpeg(), "-v", "error", *raw, *scale, str(short)], input=frames.tobytes(), check=True)
    peaks = []
    for seconds in (30, 600):
        recording = tmp_path / f"{seconds}.flac"
        samples = np.tile(speech[0], seconds)
        sound = ["-f", "f32le", "-ar", "16000", "-ac", "1", "-i", "pipe:0"]
        subprocess.run([ffmpeg(), "-v", "error", *sound, str(recording)], input=samples.tobytes(), check=True)
        video = tmp_path / f"{seconds}.mp4"
        repeat = ["-stream_loop", "-1", "-i", str(short), "-t", str(seconds), "-c", "copy", str(video)]
        subprocess.run([ffmpeg(), "-v", "error", *repeat], check=True)
        command = [
            sys.executable,
            "-m",
            "anitalker",
            "dub",
            str(video),
            str(recording),
            "-o",
            str(tmp_path / "out.mp4"),
        ]
        facts = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
        assert facts["frames"] == pytest.approx(RATE * seconds, abs=2)
        peaks.append(facts["peak_rss_mb"])
    assert peaks[1] < LIMIT_MB
    assert peaks[1] < peaks[0] + GROWTH_MB
