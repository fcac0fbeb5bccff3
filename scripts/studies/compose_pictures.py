"""A hundred pictures as people have them, recomposed from `val` stills, and whether each of them comes alive.

    python -m scripts.study compose_pictures --data DIR -o FOLDER [--count 100 --seed 0] [--render] [--speech FILE]

Writes the pictures (scripts/training/composed.py: 640 to 4096 pixels, 1 to 5 faces, turned, cut off, any format). With
--render each goes through the pipeline, as a user's file would: all of its faces or the largest; five frames of the
speech are compared with the picture before encoding, one picture in ten becomes an MP4. One line of rows.jsonl per
picture: what is there is not done again. Then summary.json, and sheet.jpg to look at: each picture with the faces that
were found (green) and put there (red), beside its largest face in the last frame.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.faces.detection import box_of, iou
from anitalker.media.images import read_picture
from anitalker.media.text_to_speech import write_wav
from anitalker.media.video import probe, read_audio, read_frames
from anitalker.pipeline import load
from anitalker.runtime.device import peak_memory
from scripts.contact_sheet import sheet
from scripts.studies.seams import crop_points, mask_of
from scripts.training.composed import LOSSLESS, Scene, compose, store
from scripts.training.data import load_stills

FRAMES = 5
SECONDS = 2.0  # of speech, from which the frames are taken
VIDEO_EVERY = 10
FOUND = 0.4  # overlap of a found box with the one that was put there
TILE = 160  # pixels of a picture on the sheet
KNOWN = (InputError, RuntimeError, ValueError, MemoryError)  # what is counted here must not stop the rest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("-o", "--out", required=True, help="folder for pictures, rows and the sheet")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--speech", default="app/examples/speech.flac")
    parser.add_argument("--model", default="lite")


def run(arguments: argparse.Namespace) -> int:
    """Write the pictures and render those that have no row yet; 1 if one of them did not come alive."""
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    stills = list(load_stills(arguments.data, ("val",)))
    if not stills:
        raise InputError(f"{arguments.data} has no stills of val; --data takes a folder of scripts.prepare_data")
    pictures, landmarks = (np.stack([still[column] for still in stills]) for column in (1, 2))
    log, rows = folder / "rows.jsonl", []
    if arguments.render:
        talker = load(arguments.model, "cpu")
        speech = read_audio(arguments.speech)[: int(SECONDS * SAMPLE_RATE)]
        if log.is_file():
            rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for number in sorted(set(range(arguments.count)) - {row["number"] for row in rows}):
        scene = compose(pictures, landmarks, arguments.seed, number)
        path, stored = store(scene, folder, arguments.seed, number)
        if arguments.render:
            rows.append(row_of(talker, scene, path, stored, number, speech))
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(json.dumps(rows[-1]), flush=True)
    if rows:
        write_sheet(folder)
        text = json.dumps(summary(rows), indent=1)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        print(text)
    return 0 if all(row["ok"] for row in rows) else 1


def where_moving(model, subjects, motions, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: pixels that the moving masks of all faces allow to change in one frame, motions [1,M] each."""
    masks = [mask_of(model, subject, motion, size) > 0 for subject, motion in zip(subjects, motions, strict=True)]
    return np.logical_or.reduce(masks)


def count_faces(boxes: list[tuple], faces: tuple[np.ndarray, ...]) -> tuple[int, int]:
    """Of the faces that were put there how many have a box, and how many boxes have none of them."""
    wanted = [box_of(points) for points in faces]
    right = sum(any(iou(face, box) > FOUND for box in boxes) for face in wanted)
    return right, sum(all(iou(face, box) <= FOUND for face in wanted) for box in boxes)


@torch.inference_mode()
def render(talker, scene: Scene, path: Path, speech: np.ndarray, options: RenderOptions, lossless: bool) -> tuple:
    """One picture through the pipeline -> facts, the last frame, boxes of the faces that move."""
    portrait = talker.portrait(path, options.face)
    picture = portrait.picture
    boxes = [box_of(crop_points(subject.crop)) for subject in portrait.faces]
    right, false = count_faces(boxes, scene.faces)
    facts = {"moving": len(boxes), "right": right, "false": false}
    if lossless:  # a picture that is stored whole must be read whole, the right way up
        facts["read_differently"] = int((read_picture(path) != scene.pixels).any(-1).sum())
    motions = [m[1 :: len(m) // FRAMES][:FRAMES] for m in talker.motion(portrait, speech, options)]
    outside, changed, frame = 0, [], picture
    for number, frame in enumerate(talker.draw(portrait, motions, options)):
        different = (frame != picture).any(-1)
        codes = [motion[number : number + 1] for motion in motions]
        outside += int((different & ~where_moving(talker.model, portrait.faces, codes, frame.shape[:2])).sum())
        changed.append(float(different.mean()))
    return facts | {"frames": len(changed), "outside": outside, "changed": float(np.mean(changed))}, frame, boxes


def as_video(talker, path: Path, speech: np.ndarray, target: Path, options: RenderOptions) -> dict:
    """The same as a real MP4 of some of the speech, with marks and all; it is read again -> facts."""
    sound = path.with_suffix(".wav")
    write_wav(sound, speech[: SAMPLE_RATE // 2].clip(-1, 1) * 32767, SAMPLE_RATE)
    rendered = talker.render(path, sound, target, options)
    media = probe(target)
    frames = sum(1 for _ in read_frames(target))
    whole = (media.width, media.height, frames) == (rendered["width"], rendered["height"], rendered["frames"])
    sound.unlink()
    target.unlink()
    return {"whole": whole, "width": media.width, "height": media.height, "frames": frames}


def row_of(talker, scene: Scene, path: Path, stored: dict, number: int, speech: np.ndarray) -> dict:
    """Everything about one picture as plain JSON types; its tile of the sheet is written beside it."""
    several = len(scene.faces) > 1 and number % 2 == 0
    options = RenderOptions(seed=number, face="all" if several else "largest", batch_size=2)
    row = {"number": number, "file": path.name, **scene.facts, **stored, "face": options.face}
    start, frame, boxes = time.process_time(), None, []
    try:
        facts, frame, boxes = render(talker, scene, path, speech, options, stored["format"] in LOSSLESS)
        row |= facts
        if number % VIDEO_EVERY == 0:
            row["video"] = as_video(talker, path, speech, path.with_suffix(".mp4"), options)
    except KNOWN as error:
        row["error"] = f"{type(error).__name__}: {error}".replace(str(path.parent), "...")
    row["ok"] = "error" not in row and row["right"] > 0 and not row["false"] and not row["outside"]
    row["ok"] = row["ok"] and not row.get("read_differently") and row.get("video", {"whole": True})["whole"]
    row["seconds"] = round(time.process_time() - start, 2)
    row["peak_mb"] = round(peak_memory() or 0)
    tile(scene, frame, boxes, row["ok"]).save(path.with_name(f"tile-{number:03d}.png"))
    return row


def tile(scene: Scene, frame: np.ndarray | None, boxes: list[tuple], ok: bool):
    """The picture with boxes, and the largest moving face of the frame beside it: a PIL picture [TILE,2 TILE]."""
    out = Image.new("RGB", (2 * TILE, TILE), "black" if ok else "red")
    shown = Image.fromarray(scene.pixels if frame is None else frame)
    scale = TILE / max(shown.size)
    small = shown.resize(tuple(max(round(side * scale), 1) for side in shown.size))
    draw = ImageDraw.Draw(small)
    for points in scene.faces:
        draw.rectangle([v * scale for v in box_of(points)], outline="red")
    for box in boxes:
        draw.rectangle([v * scale for v in box], outline=(0, 220, 0))
    out.paste(small, (0, 0))
    if frame is not None:
        x0, y0, x1, y1 = max(boxes, key=lambda box: box[2] - box[0])
        side = 0.75 * max(x1 - x0, y1 - y0)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        face = shown.crop(tuple(round(v) for v in (x - side, y - side, x + side, y + side)))
        out.paste(face.resize((TILE, TILE)), (TILE, 0))
    return out


def write_sheet(folder: Path, columns: int = 8) -> None:
    """sheet.jpg of all tiles, in order; failed ones have a red ground."""
    paths = sorted(folder.glob("tile-*.png"))
    rows = [paths[start : start + columns] for start in range(0, len(paths), columns)]
    labelled = [(f"{row[0].stem} to {row[-1].stem}", [np.asarray(Image.open(path)) for path in row]) for row in rows]
    Image.fromarray(sheet(labelled)).save(folder / "sheet.jpg", quality=88)


def summary(rows: list[dict]) -> dict:
    """What the rows say together."""
    done = [row for row in rows if "error" not in row]
    seconds = [row["seconds"] for row in rows if "video" not in row]
    everyone = [row for row in done if row["face"] == "all"]
    facts = {"pictures": len(rows), "ok": sum(row["ok"] for row in rows), "rendered": len(done)}
    facts["refused"] = {row["file"]: row["error"] for row in rows if "error" in row}
    facts["wrong"] = [row["file"] for row in done if not row["ok"]]
    facts["outside_the_mask"] = sum(row["outside"] for row in done)
    facts["read_differently"] = sum(row.get("read_differently", 0) for row in done)
    facts["lossless"] = sum("read_differently" in row for row in done)
    facts["faces_found_of"] = [sum(row["right"] for row in everyone), sum(row["faces"] for row in everyone)]
    facts["false_faces"] = sum(row["false"] for row in done)
    videos = [row["video"] for row in done if "video" in row]
    facts["videos_whole_of"] = [sum(each["whole"] for each in videos), len(videos)]
    facts["changed_share"] = round(float(np.mean([row["changed"] for row in done])), 4) if done else None
    facts["seconds_each"] = {"median": float(np.median(seconds)), "longest": max(seconds)} if seconds else None
    return facts | {"peak_mb": max((row["peak_mb"] for row in rows), default=0)}
