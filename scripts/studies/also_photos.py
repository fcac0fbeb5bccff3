"""What one more photo gains: an open mouth beside a portrait whose mouth is shut, on people never seen.

    python -m scripts.study also_photos --data DIR [--split val] [--people 20] --out FOLDER

Portrait and photo are the most shut and the most open frame of a clip's first third; frames of its last half whose lips
are more than OPEN face heights apart are drawn by codes read from their pixels, once from the portrait alone and once
with the photo as a further reference. Prints the perceptual distances of the mouth to the true frames and their ratio.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from anitalker.faces.landmarks import lip_opening
from scripts.contact_sheet import evenly, save, sheet
from scripts.evaluation.clips import EvalClip, Source, read_clips
from scripts.evaluation.mouth import LEAST_FRAMES
from scripts.evaluation.perception import Perception, features_file
from scripts.evaluation.pipeline_adapter import ModelUnderTest

OPEN = 0.03
FRAMES = 24  # of a clip that are drawn
SHOWN = 10  # people on the sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--split", default="val")
    parser.add_argument("--people", type=int, default=20, help="at most")
    parser.add_argument("--out", required=True, help="folder for the report and a contact sheet")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--features", help="perceptual distance: .npz of SqueezeNet, vgg19, TorchScript LPIPS")


def run(arguments: argparse.Namespace) -> int:
    """Draw, compare, print the report; the exit status."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    model = ModelUnderTest(arguments.model, "cpu")
    perception = Perception(features_file(arguments.data, arguments.features))
    people: dict[str, dict[str, float]] = {}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("true", "portrait", "alone", "photo", "also")}
    for clip in read_clips(arguments.data, arguments.split, None, speech=False):
        person = clip.row["identity"]
        if person in people or clip.row["generated"] == "yes" or (chosen := choose(clip)) is None:
            continue
        shut, wide, picks = chosen
        sources = [source_of(model, clip, number) for number in (shut, wide)]
        drive = model.looks(clip.frames[picks])["motion"]
        drawn = {
            name: model.render(sources[0], drive, references=sources[:n]) for name, n in (("alone", 1), ("also", 2))
        }
        truth, points = clip.frames[picks], clip.landmarks[picks]
        scores = {name: float(perception(frames, truth, points)["mouth"].mean()) for name, frames in drawn.items()}
        people[person] = scores | {"ratio": scores["also"] / scores["alone"]}
        middle = int(np.argmax(lip_opening(points)))
        shown = truth[middle], clip.frames[shut], drawn["alone"][middle], clip.frames[wide], drawn["also"][middle]
        for name, frame in zip(rows, shown, strict=True):
            rows[name].append(frame)
        if len(people) == arguments.people:
            break
    save(sheet([(name, frames[:SHOWN]) for name, frames in rows.items()]), out / "also_photos.png")
    means = {name: float(np.mean([scores[name] for scores in people.values()])) for name in ("alone", "also")}
    report = {"people": people, "mean": means | {"ratio": means["also"] / means["alone"], "people": len(people)}}
    (out / "also_photos.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 0


def choose(clip: EvalClip) -> tuple[int, int, np.ndarray] | None:
    """Numbers of the portrait, of the photo, and of the open mouths to draw; None where there are none."""
    opening, third = lip_opening(clip.landmarks), len(clip.frames) // 3
    if len(clip.frames) < LEAST_FRAMES:
        return None
    shut, wide = int(np.argmin(opening[:third])), int(np.argmax(opening[:third]))
    half = len(clip.frames) // 2
    picks = half + np.flatnonzero(opening[half:] > OPEN)
    if opening[wide] < OPEN or not len(picks):
        return None
    return shut, wide, picks[evenly(len(picks), FRAMES)]


def source_of(model: ModelUnderTest, clip: EvalClip, number: int) -> Source:
    """A frame as a portrait, with what the model finds in it."""
    frame = clip.frames[number : number + 1]
    return Source(frame[0], model.landmarks(frame)[0], model.codes(frame)[0])
