"""Is there a seam where the moving face ends, and does its colour stay? Frames beside their picture.

    python -m scripts.seams PICTURES... | --data DIR [--stills 20]   [--speech FILE --seconds 2 --every 10]

For each picture, before encoding: mean absolute step between neighbouring pixels across the border of the moving mask,
in the frames and at the same places in the picture (a seam is a larger step); the same at the neck alone, and across
the border of the face's crop; mean gradient in the band where frame and picture fade into each other; mean colour of
the face's skin, where it is in each frame, less that in the picture, per channel. All of 255. With --data the pictures
are stills of `val`, enlarged to 512 to 1024 pixels: good for seams and colours, not for sharpness.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from PIL import Image

from anitalker.config import SAMPLE_RATE, RenderOptions
from anitalker.decoder.detail import moving
from anitalker.faces.landmarks import CHIN, EYES, FACE_OVAL, LIPS
from anitalker.media.video import read_audio
from anitalker.pipeline import load

BAND = (0.02, 0.98)  # of the mask: where frame and picture fade into each other
NECK = 0.45  # face heights to both sides of the chin, below it
SIDES = (512, 1024)  # pixels of enlarged stills


def mask_of(model, subject, motion: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """How much each pixel of a picture [H,W] follows one face in one frame, motion [1,M]: 0..1, 0 outside the crop.

    A face whose detail is not carried along has no such mask: 1 in the whole crop.
    """
    side, mask = int(subject.crop.side), np.zeros(size, np.float32)
    inside = np.ones((side, side), np.float32)
    if subject.compositor.detail is not None:
        inside = moving(model.layers(subject, motion), (side, side))[0, 0].numpy()
    x, y = int(subject.crop.origin[0]), int(subject.crop.origin[1])
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, size[1]), min(y + side, size[0])
    mask[y0:y1, x0:x1] = inside[y0 - y : y1 - y, x0 - x : x1 - x]
    return mask


def steps_across(picture: np.ndarray, inside: np.ndarray, where: np.ndarray | None = None) -> tuple[float, int]:
    """Sum and number of absolute differences between neighbours of which one is inside [H,W] and one is not."""
    total, count = 0.0, 0
    for axis in (0, 1):
        one, other = (np.take(inside, np.arange(k, inside.shape[axis] - 1 + k), axis) for k in (0, 1))
        border = one != other
        if where is not None:
            border &= np.take(where, np.arange(inside.shape[axis] - 1), axis)
        step = np.abs(np.diff(picture.astype(np.int16), axis=axis)).mean(-1)
        total, count = total + float(step[border].sum()), count + int(border.sum())
    return total, count


def gradient(picture: np.ndarray, where: np.ndarray) -> tuple[float, int]:
    """Sum and number of absolute differences to the right and lower neighbours over `where` [H,W]."""
    across = np.abs(np.diff(picture.astype(np.int16), axis=1)).mean(-1)[:-1]
    down = np.abs(np.diff(picture.astype(np.int16), axis=0)).mean(-1)[:, :-1]
    chosen = where[:-1, :-1]
    return float((across + down)[chosen].sum()) / 2, int(chosen.sum())


def polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: inside the outline of points [N,2] in pixels."""
    from PIL import ImageDraw

    image = Image.new("1", size[::-1])
    ImageDraw.Draw(image).polygon([tuple(p) for p in points.tolist()], fill=1)
    return np.array(image)


def skin_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: the face's oval without boxes around mouth and eyes, whose colours change when they move."""
    inside = polygon(points[list(FACE_OVAL)], size)
    height = float(np.linalg.norm(points[CHIN] - points[10]))
    for group in (LIPS, EYES):
        (x0, y0), (x1, y1) = points[list(group)].min(0) - 0.04 * height, points[list(group)].max(0) + 0.04 * height
        inside[max(int(y0), 0) : max(int(y1), 0), max(int(x0), 0) : max(int(x1), 0)] = False
    return inside


def where_now(model, subject, motion: torch.Tensor) -> np.ndarray:
    """Landmarks [N,2] in pixels of the picture that the face has under motion [1,M]."""
    moved = model.space.landmarks(subject.landmarks, subject.motion, motion)[0, :, :2].cpu().numpy()
    return moved * subject.crop.side + np.array(subject.crop.origin)


def neck_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: below the chin, about as wide as the neck."""
    y, x = np.mgrid[: size[0], : size[1]]
    height = float(np.linalg.norm(points[CHIN] - points[10]))
    return (y > points[CHIN, 1] - 0.05 * height) & (np.abs(x - points[CHIN, 0]) < NECK * height)


@torch.inference_mode()
def measure(talker, picture, speech: np.ndarray, every: int, options: RenderOptions) -> dict:
    """One picture (a path or pixels): steps (frames, picture), the ratio of gradients, and shifts of colour."""
    portrait = talker.portrait(picture)
    subject, still = portrait.faces[0], portrait.picture
    crop, size = subject.crop, still.shape[:2]
    points = crop.landmarks[:, :2] * crop.side + np.array(crop.origin)
    neck, skin, square = neck_mask(points, size), skin_mask(points, size), np.zeros(size, bool)
    x, y, side = int(crop.origin[0]), int(crop.origin[1]), int(crop.side)
    square[max(y, 0) : y + side, max(x, 0) : x + side] = True
    motion = talker.motion(portrait, speech, options)[0][1::every]
    sums, shifts = {}, []
    for number, frame in enumerate(talker.draw(portrait, [motion], options)):
        mask = mask_of(talker.model, subject, motion[number : number + 1], size)
        band = (mask > BAND[0]) & (mask < BAND[1])
        for kind, one in (("frames", frame), ("picture", still)):
            found = {
                "border": steps_across(one, mask > 0),
                "middle": steps_across(one, mask > 0.5),
                "neck": steps_across(one, mask > 0.5, neck),
                "crop": steps_across(one, square),
                "band": gradient(one, band),
            }
            for name, (total, count) in found.items():
                old = sums.get((kind, name), (0.0, 0))
                sums[kind, name] = (old[0] + total, old[1] + count)
        now = where_now(talker.model, subject, motion[number : number + 1])
        shifts.append(frame[skin_mask(now, size)].mean(0) - still[skin].mean(0))
    facts = {"size": size[::-1], "side": side, "frames": len(shifts)}
    for name in ("border", "middle", "neck", "crop", "band"):
        facts[name] = {
            k: sums[k, name][0] / sums[k, name][1] if sums[k, name][1] else None for k in ("frames", "picture")
        }
    return facts | {"colour": np.mean(shifts, 0).tolist(), "colour_most": float(np.abs(shifts).max())}


def summary(rows: list[dict]) -> dict:
    """Means over the pictures, and the largest shift of colour."""
    facts = {"pictures": len(rows)}
    for name in ("border", "middle", "neck", "crop", "band"):
        pairs = [row[name] for row in rows if row[name]["picture"] is not None]
        if pairs:
            frames, picture = (float(np.mean([one[key] for one in pairs])) for key in ("frames", "picture"))
            worst = max(one["frames"] - one["picture"] for one in pairs)
            facts[name] = {"frames": round(frames, 2), "picture": round(picture, 2), "worst_excess": round(worst, 2)}
    facts["colour"] = [round(v, 2) for v in np.mean([row["colour"] for row in rows], 0)]
    facts["colour_size"] = round(float(np.mean(np.abs([row["colour"] for row in rows]))), 2)
    return facts | {"colour_most": round(max(row["colour_most"] for row in rows), 2)}


def enlarged(data: str, count: int) -> list[tuple[str, np.ndarray]]:
    """(id, pixels) of `count` val stills, spread over the manifest, as squares of SIDES pixels."""
    from scripts.contact_sheet import evenly
    from scripts.training.data import load_stills

    stills = list(load_stills(data, ("val",)))
    made = []
    for at, side in zip(evenly(len(stills), count), np.linspace(*SIDES, count).round().astype(int), strict=True):
        row, pixels, _ = stills[at]
        made.append((row["id"], np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))))
    return made


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Seams and colours of moving faces beside their pictures.")
    parser.add_argument("pictures", nargs="*")
    parser.add_argument("--data", help="folder laid out as scripts.prepare_data writes it: take its val stills")
    parser.add_argument("--stills", type=int, default=20)
    parser.add_argument("--speech", default="app/examples/speech.flac")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--every", type=int, default=10, help="frames")
    parser.add_argument("--model", default="lite")
    chosen = parser.parse_args(arguments)
    if bool(chosen.pictures) == bool(chosen.data):
        parser.error("give either pictures or --data")
    talker, options = load(chosen.model, "cpu"), RenderOptions(seed=1, batch_size=2)
    speech = read_audio(chosen.speech)[: int(SAMPLE_RATE * chosen.seconds)]
    pictures = enlarged(chosen.data, chosen.stills) if chosen.data else [(path, path) for path in chosen.pictures]
    rows = []
    for name, picture in pictures:
        rows.append({"picture": name, **measure(talker, picture, speech, chosen.every, options)})
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
