"""What tuning to a person gains: a person file of the first half of somebody's clips, judged on the second half.

    python -m scripts.study avatar --data DIR --person NAME --out FOLDER [--minutes M]

Filmed clips of one person are joined, the first half is tuned on. On the second half, three portraits are drawn in the
person file's picture: `untuned` (the picture alone), `references` (with the file's references and neutral face) and
`tuned`. Self-reenactment is driven by codes read from the pixels, in the true head pose; mouth, open mouth (lips more
than OPEN face heights apart) and eyes are perceptual distances to the true frame, whose frames are no references.
Speech-driven motion of the half's own sound gives lip correlation and the spread of the opening over the filmed one,
and the distance of each drawn open mouth to the nearest of the true ones.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from anitalker.config import CROP, RenderOptions
from anitalker.dubbing.people import People
from anitalker.faces.landmarks import lip_opening
from anitalker.media.video import run_ffmpeg
from anitalker.models.lite import Lite, LiteFace
from anitalker.motion.manner import USUAL
from anitalker.person.lip_tuning import Spoken, listen
from anitalker.person.person_file import PersonFile, read_person
from anitalker.person.takes import Take, crops_of, openings, settle, watch
from anitalker.person.tune_options import TuneOptions
from anitalker.pipeline import Talker, load
from encoders.image import to_tensor
from scripts.contact_sheet import evenly, save, sheet
from scripts.evaluation.metrics import pearson
from scripts.evaluation.perception import PARTS, Perception, features_file, patch
from scripts.training.data import load_clips

OPEN = 0.03
MOUTHS = 40  # open ones, that are compared with each other


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--split", default="tune")
    parser.add_argument("--person", required=True, help="identity in the manifest")
    parser.add_argument("--out", required=True, help="folder for videos, person file, contact sheet and report")
    parser.add_argument("--minutes", type=float, default=TuneOptions.minutes, help="of training")
    parser.add_argument("--frames", type=int, default=150, help="that are drawn of each kind")
    parser.add_argument("--features", help="perceptual distance: .npz of SqueezeNet, vgg19, TorchScript LPIPS")


def run(arguments: argparse.Namespace) -> int:
    """Tune, judge, print the report; the exit status."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    first, second = halves(arguments.data, arguments.split, arguments.person, out)
    talker, target = load("lite", "cpu"), out / f"{arguments.person}.safetensors"
    report: dict = {}
    if not target.exists():
        options = TuneOptions(arguments.person, minutes=arguments.minutes)
        report["tune"] = talker.tune([first], target, options, lambda *step: print(*step, end="\r"))
    take = followed(talker, second)
    perception = Perception(features_file(arguments.data, arguments.features))
    report |= judge(talker, read_person(target), take, perception, out, arguments.frames)
    text = json.dumps(report, indent=1, default=float)
    (out / f"{arguments.person}.json").write_text(text)
    print(text)
    return 0


def halves(data: str, split: str, person: str, out: Path) -> tuple[Path, Path]:
    """The first and the second half of a person's filmed clips as two videos in a folder."""
    rows = [clip for clip in load_clips(data, (split,)) if clip.row["identity"] == person]
    clips = [clip for clip in rows if clip.row["generated"] != "yes"]
    videos = (out / f"{person}-first.mp4", out / f"{person}-second.mp4")
    middle = (len(clips) + 1) // 2
    for video, part in zip(videos, (clips[:middle], clips[middle:]), strict=True):
        if video.exists():
            continue
        for clip in part:
            (out / f"{clip.row['id']}.mp4").write_bytes(clip.mp4)
        table = video.with_suffix(".txt")
        table.write_text("".join(f"file '{clip.row['id']}.mp4'\n" for clip in part))
        run_ffmpeg(("-y", "-f", "concat", "-safe", "0", "-i", str(table), "-c", "copy", str(video)))
    return videos


def followed(talker: Talker, video: Path) -> Take:
    """The person of a video, followed once and kept beside it."""
    kept = video.with_suffix(".take")
    if kept.exists():
        return pickle.loads(kept.read_bytes())
    model = talker.model.dubbing
    assert model is not None
    take = watch(model, lambda: People(talker.finder(), lambda: talker.verifier), [video])[0]
    kept.write_bytes(pickle.dumps(take))
    return take


def faces_of(talker: Talker, person: PersonFile) -> dict[str, LiteFace]:
    """The person file's picture, prepared in three ways."""
    model, picture = talker.model, person.portrait
    crop = model.crop(picture, talker.finder().find(picture)[0])
    alone = replace(person.traits, mouth={}, lips={}, manner=USUAL)
    return {
        "untuned": model.prepare(picture, crop),
        "references": model.prepare(picture, crop, (), alone),
        "tuned": model.prepare(picture, crop, (), person.traits),
    }


def judge(
    talker: Talker, person: PersonFile, take: Take, perception: Perception, out: Path, count: int
) -> dict[str, dict]:
    """Scores of the three portraits on `count` frames of a take, and ratios to the untuned one."""
    faces, lips = faces_of(talker, person), openings(take)[0]
    coded = np.flatnonzero(take.coded)
    numbers = coded[evenly(len(coded), count)]
    truth, points = crops_of(take, numbers), torch.from_numpy(take.points(numbers))
    report: dict = {"reenactment": {}, "speech": {}}
    rows, true = [("true", truth)], to_tensor(torch.from_numpy(truth))
    for name, face in faces.items():
        drawn = np.stack(list(talker.model.render_frames(face, torch.from_numpy(take.codes[numbers]))))
        rows.append((name, drawn))
        pictures = to_tensor(torch.from_numpy(drawn))
        parts = perception.parts(pictures, true, points)
        report["reenactment"][name] = {
            "mouth": float(parts["mouth"].mean()),
            "open_mouth": float(parts["mouth"][lips[numbers] > OPEN].mean()),
            "eyes": float(parts["eyes"].mean()),
            "psnr": float(10 * np.log10(255**2 / np.square(drawn.astype(float) - truth).mean((1, 2, 3))).mean()),
        }
    wide = np.argsort(-lips[numbers])[::6][:6]
    save(sheet([(name, list(frames[wide])) for name, frames in rows]), out / f"{take.clip.path.stem}.png")
    model = talker.model.dubbing
    assert model is not None
    settle(model, [take])  # what the lag of the sound is measured by
    said = listen(model, take, lips)
    if said is not None:
        print(json.dumps(report["reenactment"]), file=sys.stderr, flush=True)
        mouths = patch(true, points, *PARTS["mouth"][0])[torch.from_numpy(lips[numbers] > OPEN)][:MOUTHS]
        known = embed(perception, mouths)
        for name, face in faces.items():
            report["speech"][name] = speaking(talker, face, said, perception, known, count)
    for kinds in report.values():
        add_ratios(kinds)
    return report


def add_ratios(kinds: dict[str, dict[str, float]]) -> None:
    """Scores of the portraits with references and of the tuned one over those of the untuned one, beside them."""
    for name in ("references", "tuned"):
        if name in kinds:
            kinds[f"{name}_ratio"] = {key: kinds[name][key] / kinds["untuned"][key] for key in kinds["untuned"]}


@torch.inference_mode()
def embed(perception: Perception, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [n,3,P,P] -> [n,D] whose squared distances are the perceptual ones."""
    rows = []
    for maps in perception.network.features(pictures):
        maps = torch.nn.functional.normalize(maps.float(), dim=1)
        rows.append(maps.flatten(1) / (maps.shape[2] * maps.shape[3]) ** 0.5)
    return torch.cat(rows, 1)


def speaking(
    talker: Talker, face: LiteFace, said: Spoken, perception: Perception, known: torch.Tensor, count: int
) -> dict[str, float]:
    """Lips of a portrait that speaks a take's sound, read from drawn frames; known [n,D]: of true open mouths."""
    numbers = np.flatnonzero(said.free)
    numbers = numbers[evenly(len(numbers), 2 * count)]
    motion = talker.model.generate_motion(said.features[None], face, RenderOptions(gaze="portrait"), 0)[numbers]
    frames = np.stack(list(talker.model.render_frames(face, motion)))
    places = cast(Lite, talker.model).space.move(face.resting, motion).numpy() * CROP
    points = talker.finder().refine(frames, places, passes=2) / CROP
    opening, truth = lip_opening(points), said.opening[numbers]
    pictures = patch(to_tensor(torch.from_numpy(frames)), torch.from_numpy(points), *PARTS["mouth"][0])
    wide = pictures[torch.from_numpy(opening > OPEN)][:MOUTHS]
    nearest = torch.cdist(embed(perception, wide), known).amin(1).square() if len(wide) else torch.zeros(0)
    return {
        "correlation": pearson(opening, truth),
        "spread": float(opening.std() / truth.std()),
        "mean": float(opening.mean() / truth.mean()),
        "nearest_open_mouth": float(nearest.mean()),
    }
