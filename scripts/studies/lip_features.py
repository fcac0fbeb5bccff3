"""What lips gain from phones and from more people: equal short trainings of the lip regressor, three seeds each.

    python -m scripts.extract_features --data DIR --lips DIR/lips --out runs/features
    python -m scripts.study lip_features --start WEIGHTS --phonetic runs/phonetic --out runs/lip-features

All begin with random weights. Kill it whenever you like: the same command continues.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch

from anitalker.network_config import SpeechConfig, to_dict
from encoders.audio import normalise_level
from encoders.speech import SpeechFeatures
from scripts import train_lip_regressor
from scripts.markdown import table
from scripts.train_lip_regressor import NO_PHONES, lip_scores
from scripts.training.generator_start import begin_at, phonetic_of
from scripts.training.lip_loss import mouth_readout
from scripts.training.motion_data import load_motion, measure

FIRST_SHARDS = ("lips", "new")  # beginnings of the shards that version 0.1 did not have
HEARD = {"log-mel": False, "log-mel and phones": True}
LEARNED = {"first": FIRST_SHARDS, "all": ()}  # -> what is left out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features-dir", default="runs/features", help="made by scripts.extract_features")
    parser.add_argument("--start", required=True, help="weights whose generator hears log-mel alone")
    parser.add_argument("--phonetic", required=True, metavar="RUN", help="phonetic encoder of the arms with phones")
    parser.add_argument("--out", default="runs/lip-features")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batch", type=int, default=24)


def run(arguments: argparse.Namespace) -> int:
    """Train what is not trained yet, and print the table of all that is."""
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed, (heard, phones), (learned, left_out) in itertools.product(
        arguments.seeds, HEARD.items(), LEARNED.items()
    ):
        folder = Path(arguments.out) / f"{heard.replace(' ', '-')}-{learned}-{seed}"
        phonetic = arguments.phonetic if phones else NO_PHONES
        results.setdefault((heard, learned), []).append(_trained(arguments, folder, phonetic, left_out, seed))
        print(report(results), flush=True)
    return 0


def _trained(
    arguments: argparse.Namespace, folder: Path, phonetic: str, left_out: tuple[str, ...], seed: int
) -> dict[str, float]:
    """The scores of one arm on val, trained if it is not yet."""
    path = folder / "scores.json"
    if not path.is_file():
        options = {
            "--features-dir": arguments.features_dir,
            "--start": arguments.start,
            "--phonetic": phonetic,
            "--out": folder,
            "--steps": arguments.steps,
            "--sync-at": arguments.steps // 3,
            "--batch": arguments.batch,
            "--seed": seed,
            "--score": 0,
        }
        command = [str(word) for option in options.items() for word in option] + ["--new-lips"]
        if left_out:
            command += ["--leave-out", *left_out]
        if train_lip_regressor.main(command):
            raise SystemExit(1)
        path.write_text(json.dumps(_scores(arguments, folder, phonetic)))
    return json.loads(path.read_text())


def _scores(arguments: argparse.Namespace, folder: Path, phonetic: str) -> dict[str, float]:
    encoder = None if phonetic == NO_PHONES else phonetic_of(str(folder))
    features = SpeechFeatures(**to_dict(SpeechConfig()), phonetic=encoder)
    network = begin_at(str(folder), features.size).eval()
    clips = [clip for clip in load_motion(arguments.features_dir, "val") if clip.speaks]
    with torch.no_grad():
        heard = [features(normalise_level(torch.from_numpy(clip.sound))) for clip in clips]
    directions = torch.from_numpy(measure(arguments.features_dir, clips).directions).float()
    return lip_scores(network, heard, clips, mouth_readout(directions)[:, 0])


def report(results: dict[tuple[str, str], list[dict[str, float]]]) -> str:
    """Correlation of the lip opening with val's, zero lag: mean and range over seeds."""
    rows = []
    for (heard, learned), scores in results.items():
        values = {kind: [score[kind] for score in scores if kind in score] for kind in ("filmed", "generated")}
        shown = [f"{np.mean(x):.3f} ({min(x):.3f} to {max(x):.3f})" if x else "" for x in values.values()]
        rows.append([heard, learned, *shown, str(len(scores))])
    return table(["hears", "clips", "filmed", "generated", "seeds"], rows)
