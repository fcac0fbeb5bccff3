"""How late the sound of clips is whose manifest does not say: the table in scripts/evaluation/av_offsets.py.

    python -m scripts.study av_offsets --data DIR --lips FOLDER

Two readers say from a clip's sound what its lips should do: the shipped model (the opening of its motion codes, the
first frame as the portrait), and a ridge regression from half a second of speech features, fitted here to the filmed
speakers of the lips folder's split train. Each is correlated with the labelled opening at lags of up to 10 frames. The
two curves are averaged, so that the model which is evaluated does not choose its best lag alone; the lag is where the
mean is largest. A clip is late, or early, where that lies at least .2 above lag 0. Others are in step.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.clips import EvalClip, Source, cut_to_sound
from scripts.evaluation.lips_folder import read_lips
from scripts.evaluation.metrics import MAX_LAG, lagged
from scripts.evaluation.pipeline_adapter import ModelUnderTest
from scripts.evaluation.speaking import is_heard_and_seen
from scripts.markdown import table
from scripts.training.data import decode_frames, decode_speech, load_clips

CONTEXT = 6  # frames on either side that the regression sees
LEAST_SYNC = 0.35  # `sync_r` of the clips it learns from
STRENGTH = 0.03  # of the ridge, per frame
GAIN = 0.2  # correlation above lag 0 from which on a clip counts as out of step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--lips", required=True, metavar="FOLDER", help="folder of speech beside lip motion")
    parser.add_argument("--split", default="val")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; the exit status."""
    model = ModelUnderTest("lite", "cpu")
    weights, rows = fit_regression(model, arguments.lips), []
    for clip in load_clips(arguments.data, (arguments.split,)):
        if is_heard_and_seen(clip.row) and not clip.row.get("av_offset_frames"):
            raw = EvalClip(clip.row, decode_frames(clip.mp4), clip.landmarks, decode_speech(clip.mp4))
            rows.append((clip.row["id"], *describe(reader_curves(model, weights, cut_to_sound(raw)))))
    print(table(("clip", "lag", "model", "ridge", "mean", "mean at 0", "out of step"), rows))
    return 0


def describe(curves: np.ndarray) -> tuple[str, ...]:
    """Curves of the model and the regression [2,2 MAX_LAG + 1] -> the cells of a row of the table."""
    both = curves.mean(0)
    best = int(both.argmax())
    values = (curves[0, best], curves[1, best], both[best], both[MAX_LAG])
    out_of_step = both[best] - both[MAX_LAG] >= GAIN
    return (f"{best - MAX_LAG:+d}", *(f"{value:.2f}" for value in values), "yes" if out_of_step else "no")


def reader_curves(model: ModelUnderTest, weights: np.ndarray, clip: EvalClip) -> np.ndarray:
    """Correlation of both readers with the labels at each lag, [2,2 MAX_LAG + 1]; above zero the sound is late."""
    image, truth = clip.frames[:1].copy(), lip_opening(clip.landmarks)
    source = Source(image[0], model.landmarks(image)[0], model.codes(image)[0])
    motion = model.speak(source, clip.speech, 0)[: len(truth)]
    lips = lip_opening(model.posed(source.landmarks, source.motion, motion))
    regression = windows(model, clip.speech, len(truth)) @ weights
    return np.array([lagged(curve, np.arange(len(truth)), truth) for curve in (lips, regression)])


def fit_regression(model: ModelUnderTest, folder: str) -> np.ndarray:
    """Ridge regression from windows of features to the opening, standardised per clip, of filmed train speakers."""
    gram, target, count = np.zeros(1), np.zeros(1), 0
    for clip in read_lips(folder, "train"):
        if clip.row["generated"] == "yes" or float(clip.row.get("sync_r") or 0) < LEAST_SYNC:
            continue
        x, opening = windows(model, clip.speech, len(clip.opening)), clip.opening - clip.opening.mean()
        gram, target = gram + x.T @ x, target + x.T @ (opening / (opening.std() + 1e-3))
        count += len(x)
    return np.linalg.solve(gram + STRENGTH * count * np.eye(len(gram)), target)


def windows(model: ModelUnderTest, speech: np.ndarray, frames: int) -> np.ndarray:
    """Speech features of CONTEXT frames on either side, less the clip's mean: [frames,(2 CONTEXT + 1) S]."""
    features = model.talker.model.speech_features(torch.tensor(speech))[0].cpu().numpy()[:frames]
    features = np.pad(features - features.mean(0), ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    return np.concatenate([features[n : n + frames] for n in range(2 * CONTEXT + 1)], 1)
