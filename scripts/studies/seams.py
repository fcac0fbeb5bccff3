"""Is there a seam where the moving face ends, and does its colour stay? Frames beside their picture.

    python -m scripts.study seams --data DIR [--stills 20]

Stills of `val` are enlarged to 512 to 1024 pixels, spoken, and measured before encoding: mean absolute step between
neighbouring pixels across the border of the moving mask, in the frames and at the same places in the picture (a seam is
a larger step); the same at the neck alone, and across the border of the face's crop; mean gradient in the band where
frame and picture fade into each other; mean colour of the face's skin in each frame, less that in the picture. All of
255.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from PIL import Image, ImageDraw

from anitalker.config import SAMPLE_RATE, RenderOptions
from anitalker.decoder.composition import motion_mask
from anitalker.decoder.flow import resize
from anitalker.faces.crop import Crop
from anitalker.faces.landmarks import CHIN, EYES, FACE_OVAL, FOREHEAD, LIPS
from anitalker.media.video import read_audio
from anitalker.pipeline import load
from scripts.contact_sheet import evenly
from scripts.training.data import load_stills

BAND = (0.02, 0.98)  # of the mask: where frame and picture fade into each other
NECK = 0.45  # face heights to both sides of the chin, below it
SIDES = (512, 1024)  # pixels of enlarged stills
PLACES = ("border", "middle", "neck", "crop", "band")
SECONDS, EVERY = 2.0, 10  # of speech; frames from one that is measured to the next
SPEECH = "app/examples/speech.flac"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--stills", type=int, default=20)


def run(arguments: argparse.Namespace) -> int:
    """One line of JSON per still, then their summary."""
    talker, options = load("lite", "cpu"), RenderOptions(seed=1, batch_size=2)
    speech = read_audio(SPEECH)[: int(SAMPLE_RATE * SECONDS)]
    stills, rows = list(load_stills(arguments.data, ("val",))), []
    sides = np.linspace(*SIDES, arguments.stills).round().astype(int)
    for number, side in zip(evenly(len(stills), arguments.stills), sides, strict=False):
        row, pixels, _ = stills[number]
        picture = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
        rows.append({"picture": row["id"], **measure(talker, picture, speech, EVERY, options)})
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(summary(rows)))
    return 0


def crop_points(crop: Crop) -> np.ndarray:
    """Landmarks [N,2] of a crop in pixels of its picture."""
    return crop.landmarks[:, :2] * crop.side + np.array(crop.origin)


def crop_slices(crop: Crop, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a picture [H,W] that lie in a crop."""
    x, y, side = int(crop.origin[0]), int(crop.origin[1]), int(crop.side)
    return slice(max(y, 0), min(y + side, size[0])), slice(max(x, 0), min(x + side, size[1]))


def mask_of(model, subject, motion: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """How much each pixel of a picture [H,W] follows one face in one frame, motion [1,M]: 0..1, 0 outside the crop."""
    crop, mask = subject.crop, np.zeros(size, np.float32)
    side, x, y = int(crop.side), int(crop.origin[0]), int(crop.origin[1])
    inside = resize(motion_mask(model.layers(subject, motion)), (side, side))[0, 0].numpy()
    rows, columns = crop_slices(crop, size)
    mask[rows, columns] = inside[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return mask


def steps_across(picture: np.ndarray, inside: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Absolute differences [n] between neighbours of which one is inside [H,W] and one is not."""
    steps = []
    for axis in (0, 1):
        border = np.diff(inside, axis=axis)
        if where is not None:
            border &= np.take(where, np.arange(inside.shape[axis] - 1), axis)
        steps.append(np.abs(np.diff(picture.astype(np.int16), axis=axis)).mean(-1)[border])
    return np.concatenate(steps)


def gradients(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean absolute difference [n] to the right and lower neighbour of each pixel of `where` [H,W]."""
    across = np.abs(np.diff(picture.astype(np.int16), axis=1)).mean(-1)[:-1]
    down = np.abs(np.diff(picture.astype(np.int16), axis=0)).mean(-1)[:, :-1]
    return (across + down)[where[:-1, :-1]] / 2


def skin_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: the face's oval without boxes around mouth and eyes, whose colours change when they move."""
    oval = Image.new("1", size[::-1])
    ImageDraw.Draw(oval).polygon([tuple(point) for point in points[list(FACE_OVAL)].tolist()], fill=1)
    inside = np.array(oval)
    margin = 0.04 * float(np.linalg.norm(points[CHIN] - points[FOREHEAD]))
    for group in (LIPS, EYES):
        low, high = points[list(group)].min(0) - margin, points[list(group)].max(0) + margin
        (x0, y0), (x1, y1) = low.clip(0).astype(int), high.clip(0).astype(int)
        inside[y0:y1, x0:x1] = False
    return inside


def neck_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: below the chin, about as wide as the neck."""
    y, x = np.mgrid[: size[0], : size[1]]
    height = float(np.linalg.norm(points[CHIN] - points[FOREHEAD]))
    return (y > points[CHIN, 1] - 0.05 * height) & (np.abs(x - points[CHIN, 0]) < NECK * height)


def moved_points(model, subject, motion: torch.Tensor) -> np.ndarray:
    """Landmarks [N,2] in pixels of the picture that the face has under motion [1,M]."""
    moved = model.space.landmarks(subject.landmarks, subject.motion, motion)[0, :, :2].cpu().numpy()
    return moved * subject.crop.side + np.array(subject.crop.origin)


@torch.inference_mode()
def measure(talker, picture, speech: np.ndarray, every: int, options: RenderOptions) -> dict:
    """One picture (a path or pixels) -> means per place in frames and picture (None where there is none), colours."""
    portrait = talker.portrait(picture)
    subject, still = portrait.faces[0], portrait.picture
    size, points = still.shape[:2], crop_points(subject.crop)
    neck, skin, square = neck_mask(points, size), skin_mask(points, size), np.zeros(size, bool)
    square[crop_slices(subject.crop, size)] = True
    motion = talker.motion(portrait, speech, options)[0][1::every]
    steps = {place: {"frames": [], "picture": []} for place in PLACES}
    shifts = []
    for number, frame in enumerate(talker.draw(portrait, [motion], options)):
        codes = motion[number : number + 1]
        mask = mask_of(talker.model, subject, codes, size)
        for kind, pixels in (("frames", frame), ("picture", still)):
            steps["border"][kind].append(steps_across(pixels, mask > 0))
            steps["middle"][kind].append(steps_across(pixels, mask > 0.5))
            steps["neck"][kind].append(steps_across(pixels, mask > 0.5, neck))
            steps["crop"][kind].append(steps_across(pixels, square))
            steps["band"][kind].append(gradients(pixels, (mask > BAND[0]) & (mask < BAND[1])))
        skin_now = skin_mask(moved_points(talker.model, subject, codes), size)
        shifts.append(frame[skin_now].mean(0) - still[skin].mean(0))
    facts = {"frames": len(shifts), "colour": np.mean(shifts, 0).tolist(), "colour_most": float(np.abs(shifts).max())}
    for place, kinds in steps.items():
        values = {kind: np.concatenate(values) for kind, values in kinds.items()}
        facts[place] = {kind: float(each.mean()) if len(each) else None for kind, each in values.items()}
    return facts


def summary(rows: list[dict]) -> dict:
    """Means over the pictures, and the largest shift of colour."""
    facts = {"pictures": len(rows)}
    for place in PLACES:
        means = [(row[place]["frames"], row[place]["picture"]) for row in rows if row[place]["picture"] is not None]
        if means:
            frames, picture = np.array(means).T
            values = {"frames": frames.mean(), "picture": picture.mean(), "worst_excess": (frames - picture).max()}
            facts[place] = {name: round(float(value), 2) for name, value in values.items()}
    colours = np.array([row["colour"] for row in rows])
    facts["colour"] = [round(float(shift), 2) for shift in colours.mean(0)]
    facts["colour_size"] = round(float(np.abs(colours).mean()), 2)
    return facts | {"colour_most": round(max(row["colour_most"] for row in rows), 2)}
