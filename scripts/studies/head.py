"""How heads move while people speak: real ones of val, and those that the generator makes for the same sound.

    python -m scripts.study head --data DIR [--split val]

Filmed clips whose speaker is visible, of LEAST_SECONDS or more; real heads are the rigid fit to the clip's landmarks.
spread: standard deviation of yaw, pitch and roll within a clip, degrees, median over clips. speed: mean change, degrees
a second. jitter: mean second difference, degrees a frame squared. nods: correlation of the pitch, less its mean over
two seconds, with onset strength (librosa), smoothed alike, at the best lag of at most LAG frames; positive: the head
goes down where the voice sets in.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import librosa
import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from anitalker.config import FPS, SAMPLE_RATE, RenderOptions
from anitalker.faces.landmarks import fit_pose
from anitalker.pipeline import load
from scripts.evaluation.clips import read_clips
from scripts.evaluation.metrics import pearson
from scripts.markdown import table

LEAST_SECONDS = 2.5
LAG = 8
SMOOTH = 2.0  # frames, Gaussian
SLOW = 2 * FPS  # frames, of the mean that nods are measured against
LABEL_SMOOTH = 1.5  # frames: labels tremble


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--split", default="val")
    parser.add_argument("--seeds", type=int, default=3, help="motions for each clip")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a table; the exit status."""
    talker = load("lite", "cpu")
    rows: dict[str, list[dict]] = defaultdict(list)
    for clip in read_clips(arguments.data, arguments.split, None, speech=True):
        filmed = clip.row["generated"] != "yes" and clip.row["speaking_visible"] == "yes"
        if not filmed or len(clip.frames) < LEAST_SECONDS * FPS or len(clip.speech) < LEAST_SECONDS * SAMPLE_RATE:
            continue
        real = fit_pose(torch.from_numpy(clip.landmarks), talker.model.space.canonical).numpy()[:, :3]
        onsets = onset_strength(clip.speech, len(real))
        rows["real"].append(measure(gaussian_filter1d(real, LABEL_SMOOTH, axis=0), onsets))
        start = talker.model.read_codes(torch.from_numpy(clip.frames[:1]))[0]
        features = talker.model.speech_features(torch.from_numpy(clip.speech))
        for seed in range(arguments.seeds):
            made = talker.model.speak(features, start, RenderOptions(), seed)[: len(real), :3].numpy()
            rows["made"].append(measure(made, onsets))
    names = list(rows["real"][0])
    cells = [[name, *(f"{np.median([row[name] for row in rows[kind]]):.3f}" for kind in rows)] for name in names]
    print(table(["", *rows], cells))
    print(f"{len(rows['real'])} clips")
    return 0


def onset_strength(speech: np.ndarray, frames: int) -> np.ndarray:
    """Onset strength [T] of speech [N] at 16 kHz, one per video frame, smoothed."""
    strength = librosa.onset.onset_strength(y=speech, sr=SAMPLE_RATE, hop_length=SAMPLE_RATE // FPS)
    strength = np.pad(strength, (0, max(0, frames - len(strength))))[:frames]
    return gaussian_filter1d(strength, SMOOTH)


def measure(angles: np.ndarray, onsets: np.ndarray) -> dict[str, float]:
    """Measures of the angles [T,3] in radians of one clip."""
    degrees, onsets = np.rad2deg(angles), onsets[: len(angles)]
    spread = degrees.std(0)
    pitch = degrees[:, 1] - uniform_filter1d(degrees[:, 1], SLOW)
    lags = [pearson(np.roll(onsets, lag)[LAG:-LAG], pitch[LAG:-LAG]) for lag in range(-2, LAG + 1)]
    return {
        "spread of yaw": spread[0],
        "spread of pitch": spread[1],
        "spread of roll": spread[2],
        "speed": float(np.abs(np.diff(degrees, axis=0)).sum(1).mean() * FPS),
        "jitter": float(np.abs(np.diff(degrees, 2, axis=0)).sum(1).mean()),
        "nods": max(lags),
        "nods at any lag": float(np.max(np.abs(lags))),
    }
