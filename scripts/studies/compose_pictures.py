"""A hundred pictures as people have them, recomposed from `val` stills, and whether each of them comes alive.

    python -m scripts.study compose_pictures --data DIR -o FOLDER [--count 100 --seed 0]

Writes the pictures (scripts/training/composed.py: 640 to 4096 pixels, 1 to 5 faces, turned, cut off, any format) and
renders each as a user's file would be: all of its faces or the largest. Five frames are compared with the picture
before encoding, one picture in ten becomes an MP4. summary.json says what went wrong; sheet.jpg shows the last frame of
each with the faces that were found (green) and put there (red).
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
from scripts.studies.seams import SECONDS, SPEECH, crop_points, mask_of
from scripts.training.composed import LOSSLESS, Scene, compose, store
from scripts.training.data import load_stills

FRAMES = 5
VIDEO_EVERY = 10
FOUND = 0.4  # overlap of a found box with the one that was put there
TILE = 320  # pixels of a picture on the sheet
COLUMNS = 8  # pictures in a row of the sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("-o", "--out", required=True, help="folder for pictures, summary and sheet")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> int:
    """Write and render the pictures; 1 if one of them did not come alive."""
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    _, pictures, landmarks = map(np.stack, zip(*load_stills(arguments.data, ("val",)), strict=True))
    talker, speech = load("lite", "cpu"), read_audio(SPEECH)[: int(SECONDS * SAMPLE_RATE)]
    rows, tiles = [], []
    for number in range(arguments.count):
        scene = compose(pictures, landmarks, arguments.seed, number)
        path, stored = store(scene, folder, arguments.seed, number)
        row, tile = picture_to_life(talker, scene, path, stored, number, speech)
        rows.append(row)
        tiles.append(tile)
        print(json.dumps(row), flush=True)
    starts = range(0, len(tiles), COLUMNS)
    picture = sheet([(f"from {start}", tiles[start : start + COLUMNS]) for start in starts])
    Image.fromarray(picture).save(folder / "sheet.jpg", quality=88)
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
def render(talker, scene: Scene, path: Path, speech: np.ndarray, options: RenderOptions) -> tuple[dict, np.ndarray]:
    """One picture through the pipeline -> what is wrong with its frames, and its tile of the sheet."""
    portrait = talker.portrait(path, options.face)
    picture = portrait.picture
    boxes = [box_of(crop_points(subject.crop)) for subject in portrait.faces]
    right, false = count_faces(boxes, scene.faces)
    motions = [m[1 :: len(m) // FRAMES][:FRAMES] for m in talker.motion(portrait, speech, options)]
    outside, changed, frame = 0, [], picture
    for number, frame in enumerate(talker.draw(portrait, motions, options)):
        different = (frame != picture).any(-1)
        codes = [motion[number : number + 1] for motion in motions]
        outside += int((different & ~where_moving(talker.model, portrait.faces, codes, frame.shape[:2])).sum())
        changed.append(float(different.mean()))
    facts = {"right": right, "false": false, "outside": outside, "changed": float(np.mean(changed))}
    return facts, tile_of(frame, scene, boxes)


def video_is_whole(talker, path: Path, speech: np.ndarray, options: RenderOptions) -> bool:
    """Whether an MP4 of half a second, with marks and all, has the size and the number of frames that it should."""
    sound, target = path.with_suffix(".wav"), path.with_suffix(".mp4")
    write_wav(sound, speech[: SAMPLE_RATE // 2].clip(-1, 1) * 32767, SAMPLE_RATE)
    rendered, media = talker.render(path, sound, target, options), probe(target)
    expected = rendered["width"], rendered["height"], rendered["frames"]
    whole = (media.width, media.height, sum(1 for _ in read_frames(target))) == expected
    sound.unlink()
    target.unlink()
    return whole


def picture_to_life(
    talker, scene: Scene, path: Path, stored: dict, number: int, speech: np.ndarray
) -> tuple[dict, np.ndarray]:
    """Everything about one picture as plain JSON types, and its tile; an error is a row too."""
    several = len(scene.faces) > 1 and number % 2 == 0
    options = RenderOptions(seed=number, face="all" if several else "largest", batch_size=2)
    row = {"file": path.name, **scene.facts, **stored, "face": options.face}
    start, tile = time.process_time(), np.full((TILE, TILE, 3), (255, 0, 0), np.uint8)
    try:
        if stored["format"] in LOSSLESS:  # it must be read whole, the right way up
            row["read_right"] = np.array_equal(read_picture(path), scene.pixels)
        facts, tile = render(talker, scene, path, speech, options)
        row |= facts
        if number % VIDEO_EVERY == 0:
            row["video_whole"] = video_is_whole(talker, path, speech, options)
    except (InputError, RuntimeError, ValueError, MemoryError) as error:
        row["error"] = f"{type(error).__name__}: {error}".replace(str(path.parent), "...")
    alive = "error" not in row and row["right"] > 0 and not row["false"] and not row["outside"]
    row["ok"] = alive and row.get("read_right", True) and row.get("video_whole", True)
    return row | {"seconds": round(time.process_time() - start, 2), "peak_mb": round(peak_memory() or 0)}, tile


def tile_of(frame: np.ndarray, scene: Scene, boxes: list[tuple]) -> np.ndarray:
    """A frame with the boxes of its faces: found in green, put there in red; uint8 [h,w,3], TILE pixels at most."""
    shown = Image.fromarray(frame)
    draw, width = ImageDraw.Draw(shown), max(shown.size) // TILE
    for points in scene.faces:
        draw.rectangle(box_of(points), outline="red", width=width)
    for box in boxes:
        draw.rectangle(tuple(box), outline="lime", width=width)
    shown.thumbnail((TILE, TILE))
    return np.asarray(shown)


def summary(rows: list[dict]) -> dict:
    """What the rows say together."""
    done = [row for row in rows if "error" not in row]
    everyone = [row for row in done if row["face"] == "all"]
    seconds = [row["seconds"] for row in rows if "video_whole" not in row]
    facts = {"pictures": len(rows), "ok": sum(row["ok"] for row in rows), "rendered": len(done)}
    facts["refused"] = {row["file"]: row["error"] for row in rows if "error" in row}
    facts["wrong"] = [row["file"] for row in done if not row["ok"]]
    facts["outside_the_mask"] = sum(row["outside"] for row in done)
    facts["faces_found_of"] = [sum(row["right"] for row in everyone), sum(row["faces"] for row in everyone)]
    facts["false_faces"] = sum(row["false"] for row in done)
    for name in ("read_right", "video_whole"):
        facts[f"{name}_of"] = [sum(row.get(name, False) for row in done), sum(name in row for row in done)]
    facts["changed_share"] = round(float(np.mean([row["changed"] for row in done])), 4) if done else None
    facts["seconds_each"] = {"median": float(np.median(seconds)), "longest": max(seconds)} if seconds else None
    return facts | {"peak_mb": max(row["peak_mb"] for row in rows)}
