"""What the mark of synthetic sound endures, how faint it is, and whether it is found where it is not.

python -m scripts.study measure_audio_mark --data DATA [--recordings 50] [--seconds 5] [--unmarked 200]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from anitalker.config import SAMPLE_RATE
from anitalker.media.filtered_sound import RATE
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import ffmpeg, read_audio
from anitalker.provenance import audio_mark
from anitalker.provenance.audio_mark_search import SoundDetection, detect_sound
from anitalker.provenance.payload import new_identifier

# What happens to sound: the file, and arguments of ffmpeg.
ATTACKS = {
    "as made": ("out.wav", []),
    "AAC, 96 kbit/s": ("out.m4a", ["-c:a", "aac", "-b:a", "96k"]),
    "MP3, 128 kbit/s": ("out.mp3", ["-c:a", "libmp3lame", "-b:a", "128k"]),
    "16 kHz, softer by 12 dB": ("out.wav", ["-ar", "16000", "-af", "volume=-12dB"]),
    "44.1 kHz, first 0.7 s cut": ("out.wav", ["-ar", "44100", "-ss", "0.7134"]),
    "AAC, 48 kbit/s": ("out.m4a", ["-c:a", "aac", "-b:a", "48k"]),  # beyond what is asked
}
SEGMENT = 0.02  # seconds of the segmental SNR
SILENCE_DB = 40.0  # segments that are softer than the loudest by more do not count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--recordings", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each recording")
    parser.add_argument("--unmarked", type=int, default=200, help="other cuts of them, without the mark")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print as JSON."""
    recordings = []
    for file in sorted((Path(arguments.data) / "speech").glob("*.flac")):
        samples = read_audio(file, RATE)
        if len(samples) >= arguments.seconds * RATE:
            recordings.append(samples)
    report = marked(recordings[: arguments.recordings], arguments.seconds)
    report["unmarked"] = unmarked(recordings, arguments.unmarked, arguments.seconds)
    print(json.dumps(report, indent=2))
    return 0


def marked(recordings: list[np.ndarray], seconds: float) -> dict:
    """Recordings [N] at RATE, cut, marked, attacked -> found and read, segmental SNR in dB."""
    found: dict[str, list[tuple[SoundDetection, str]]] = {name: [] for name in ATTACKS}
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for recording in recordings:
            plain, identifier = recording[: round(seconds * RATE)], new_identifier()
            sound = np.concatenate(list(audio_mark.mark([plain[:, None]], RATE, identifier)))[:, 0]
            ratios.append(segmental_snr(plain, sound))
            source = Path(folder) / "marked.wav"
            write_wav(source, sound.clip(-1, 1) * 32767, RATE)
            for name, (target, changes) in ATTACKS.items():
                file = Path(folder) / target
                command = [ffmpeg(), "-v", "error", "-y", "-i", str(source), *changes, str(file)]
                subprocess.run(command, check=True)
                found[name].append((detect_sound(read_audio(file)), identifier))
    return {
        "recordings": len(recordings),
        "segmental_snr_mean": float(np.mean(ratios)),
        "segmental_snr_min": min(ratios),
        "attacks": {name: tally(detections) for name, detections in found.items()},
    }


def tally(detections: list[tuple[SoundDetection, str]]) -> dict:
    """Of one attack: how many marks were found, identifiers right and wrong, the lowest score."""
    read = [(detection.identifier, identifier) for detection, identifier in detections if detection.identifier]
    return {
        "found": sum(detection.found for detection, _ in detections),
        "identifier_right": sum(a == b for a, b in read),
        "identifier_wrong": sum(a != b for a, b in read),
        "lowest_score": min(detection.score for detection, _ in detections),
    }


def unmarked(recordings: list[np.ndarray], count: int, seconds: float) -> dict:
    """Cuts of recordings without the mark: false alarms and the highest score."""
    rng = np.random.default_rng(0)
    scores, alarms = [], 0
    for number in range(count):
        recording = recordings[number % len(recordings)][:: RATE // SAMPLE_RATE]  # they hold nothing above 8 kHz
        length = rng.integers(SAMPLE_RATE, min(len(recording), 2 * seconds * SAMPLE_RATE))
        start = rng.integers(0, len(recording) - length + 1)
        detection = detect_sound(recording[start : start + length])
        scores.append(detection.score)
        alarms += detection.found
    return {"files": count, "false_alarms": int(alarms), "highest_score": max(scores)}


def segmental_snr(plain: np.ndarray, changed: np.ndarray) -> float:
    """Compute the mean over segments of the ratio of sound [N] to what was changed of it, in dB."""
    length = round(SEGMENT * RATE)
    count = len(plain) // length
    power, noise = (
        np.square(values[: count * length], dtype=np.float64).reshape(count, length).sum(1)
        for values in (plain, changed - plain)
    )
    heard = power > power.max() / 10 ** (SILENCE_DB / 10)
    return float(np.mean(10 * np.log10(power[heard] / np.maximum(noise[heard], 1e-12))))
