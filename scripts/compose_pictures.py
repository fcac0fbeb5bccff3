"""A hundred pictures as people have them, recomposed from `val` stills, and whether each of them comes alive.

    python -m scripts.compose_pictures --data DIR -o FOLDER [--count 100 --seed 0] [--render] [--speech FILE]

Writes the pictures (scripts/training/composed.py: 640 to 4096 pixels, 1 to 5 faces, turned, cut off, any format). With
--render each goes through the pipeline, as a user's file would: all of its faces or the largest; five frames of the
speech are compared with the picture before encoding, one picture in ten becomes an MP4. One line of rows.jsonl per
picture: what is there is not done again. Then summary.json, and sheet.jpg to look at: each picture with the faces that
were found (green) and put there (red), beside its largest face in the last frame.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import wave
from pathlib import Path

import numpy as np
import torch

from anitalker.config import SAMPLE_RATE, InputError, RenderOptions
from anitalker.faces.detection import box_of, iou
from anitalker.media.images import read_picture
from anitalker.media.video import probe, read_audio, read_frames
from scripts.seams import mask_of
from scripts.training.composed import LOSSLESS, Scene, compose, store
from scripts.training.data import load_stills

FRAMES = 5
SECONDS = 2.0  # of speech, from which the frames are taken
VIDEO_EVERY = 10
FOUND = 0.4  # overlap of a found box with the one that was put there
TILE = 160  # pixels of a picture on the sheet
KNOWN = (InputError, RuntimeError, ValueError, MemoryError)  # what is counted here must not stop the rest


def where_moving(model, subjects, motions, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: pixels that the moving masks of all faces allow to change in one frame, motions [1,M] each."""
    masks = [mask_of(model, subject, motion, size) > 0 for subject, motion in zip(subjects, motions, strict=True)]
    return np.logical_or.reduce(masks)


def count_found(found: list[tuple], faces: tuple[np.ndarray, ...]) -> tuple[int, int]:
    """Of the faces that were put there how many were found, and how many found ones are none."""
    boxes = [box_of(points) for points in faces]
    hit = sum(any(iou(box, one) > FOUND for one in found) for box in boxes)
    return hit, sum(all(iou(box, one) <= FOUND for box in boxes) for one in found)


@torch.inference_mode()
def render(talker, scene: Scene, path: Path, speech: np.ndarray, options: RenderOptions, lossless: bool) -> tuple:
    """One picture through the pipeline -> facts, the last frame, boxes of the faces that move."""
    portrait = talker.portrait(path, options.face)
    picture = portrait.picture
    boxes = [box_of(s.crop.landmarks[:, :2] * s.crop.side + np.array(s.crop.origin)) for s in portrait.faces]
    found, false = count_found(boxes, scene.faces)
    facts = {"moving": len(boxes), "right": found, "false": false}
    if lossless:  # a picture that is stored whole must be read whole, the right way up
        facts["read_differently"] = int((read_picture(path) != scene.pixels).any(-1).sum())
    motions = [m[1 :: len(m) // FRAMES][:FRAMES] for m in talker.motion(portrait, speech, options)]
    outside, changed, frame = 0, [], picture
    for number, frame in enumerate(talker.draw(portrait, motions, options)):
        different = (frame != picture).any(-1)
        allowed = where_moving(talker.model, portrait.faces, [m[number : number + 1] for m in motions], frame.shape[:2])
        outside += int((different & ~allowed).sum())
        changed.append(float(different.mean()))
    return facts | {"frames": len(changed), "outside": outside, "changed": float(np.mean(changed))}, frame, boxes


def as_video(talker, path: Path, speech: np.ndarray, target: Path, options: RenderOptions) -> dict:
    """The same as a real MP4 of some of the speech, with marks and all; it is read again -> facts."""
    sound = path.with_suffix(".wav")
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(SAMPLE_RATE)
        file.writeframes((speech[: SAMPLE_RATE // 2].clip(-1, 1) * 32767).astype("<i2").tobytes())
    made = talker.render(path, sound, target, options)
    sound.unlink()
    media = probe(target)
    frames = sum(1 for _ in read_frames(target))
    whole = (media.width, media.height) == (made["width"], made["height"]) and frames == made["frames"]
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
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    tile(scene, frame, boxes, row["ok"]).save(path.with_name(f"tile-{number:03d}.png"))
    return row


def tile(scene: Scene, frame: np.ndarray | None, boxes: list[tuple], ok: bool):
    """The picture with boxes, and the largest moving face of the frame beside it: a PIL picture [TILE,2 TILE]."""
    from PIL import Image, ImageDraw

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


def contact_sheet(folder: Path, columns: int = 8) -> None:
    """sheet.jpg of all tiles, in order; failed ones have a red ground."""
    from PIL import Image

    tiles = [Image.open(path) for path in sorted(folder.glob("tile-*.png"))]
    if tiles:
        out = Image.new("RGB", (2 * TILE * columns, TILE * -(-len(tiles) // columns)))
        for at, one in enumerate(tiles):
            out.paste(one, (at % columns * 2 * TILE, at // columns * TILE))
        out.save(folder / "sheet.jpg", quality=88)


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
    facts["videos_whole_of"] = [
        sum(row["video"]["whole"] for row in done if "video" in row),
        sum("video" in r for r in done),
    ]
    facts["changed_share"] = round(float(np.mean([row["changed"] for row in done])), 4) if done else None
    facts["seconds_each"] = {"median": float(np.median(seconds)), "longest": max(seconds)} if seconds else None
    return facts | {"peak_mb": max((row["peak_mb"] for row in rows), default=0)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("-o", "--out", required=True, help="folder for pictures, rows and the sheet")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--speech", default="app/examples/speech.flac")
    parser.add_argument("--model", default="lite")
    chosen = parser.parse_args(arguments)
    folder = Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    stills = list(load_stills(chosen.data, ("val",)))
    pictures, landmarks = np.stack([one[1] for one in stills]), np.stack([one[2] for one in stills])
    book, rows, talker = folder / "rows.jsonl", [], None
    if book.is_file() and chosen.render:
        rows = [json.loads(line) for line in book.read_text(encoding="utf-8").splitlines()]
    for number in sorted(set(range(chosen.count)) - {row["number"] for row in rows}):
        scene = compose(pictures, landmarks, chosen.seed, number)
        path, stored = store(scene, folder, chosen.seed, number)
        if not chosen.render:
            continue
        if talker is None:
            from anitalker.pipeline import load

            talker = load(chosen.model, "cpu")
            speech = read_audio(chosen.speech)[: int(SECONDS * SAMPLE_RATE)]
        rows.append(row_of(talker, scene, path, stored, number, speech))
        with open(book, "a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        print(json.dumps(rows[-1]), flush=True)
    if chosen.render:
        contact_sheet(folder)
        (folder / "summary.json").write_text(json.dumps(summary(rows), indent=1) + "\n", encoding="utf-8")
        print(json.dumps(summary(rows), indent=1))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
