"""How sharp is the moving face beside the picture it was made from? Variance of the Laplacian, at the picture's size.

    python -m scripts.study sharpness PICTURES...

For each picture: the face in every fifth frame over the same face in the picture (1 is as sharp), ours, and the crop of
256 pixels enlarged by bicubic interpolation, as the original AniTalker's output would have to be. Mouth and eyes apart.
Also how many pixels outside the crop differ from the picture (before encoding).
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import laplace

from anitalker.config import SAMPLE_RATE, RenderOptions
from anitalker.faces.crop import seen_part
from anitalker.faces.landmarks import EYES, FACE_OVAL, LIPS
from anitalker.faces.paste import feathered, paste_all
from anitalker.media.video import read_audio
from anitalker.pipeline import load
from scripts.studies.seams import SECONDS, SPEECH, crop_points, crop_slices

PARTS = {"face": FACE_OVAL, "mouth": LIPS, "eyes": EYES}
EVERY = 5  # frames from one that is measured to the next


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+")


def run(arguments: argparse.Namespace) -> int:
    """One line of JSON per picture, then the means."""
    talker, options = load("lite", "cpu"), RenderOptions(seed=1)
    speech = read_audio(SPEECH)[: int(SAMPLE_RATE * SECONDS)]
    rows = []
    for path in arguments.pictures:
        rows.append({"picture": path, **measure(talker, path, speech, EVERY, options)})
        print(json.dumps(rows[-1]), flush=True)
    for kind in ("ours", "bicubic"):
        print(kind, {name: round(float(np.mean([row[kind][name] for row in rows])), 3) for name in PARTS})
    return 0


def laplacian_variance(picture: np.ndarray, inside: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of the grey picture, uint8 [H,W,3], where inside [H,W] is true."""
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return float(laplace(grey, mode="nearest")[inside].var())


def region(points: np.ndarray, shape: tuple[int, int], grow: float = 0.0, order: float = np.inf) -> np.ndarray:
    """bool [H,W]: the box around points [N,2] in pixels, larger by a share; with order 2 the ellipse in it."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low) * (0.5 + grow)
    x, y = (np.arange(side) + 0.5 for side in shape[::-1])
    offset = np.stack(np.meshgrid((x - middle[0]) / half[0], (y - middle[1]) / half[1]), -1)
    return np.linalg.norm(offset, order, axis=-1) < 1


@torch.inference_mode()
def measure(talker, picture: str | np.ndarray, speech: np.ndarray, every: int, options: RenderOptions) -> dict:
    """Ratios to the picture's own sharpness for one picture, a file or pixels; means over the frames."""
    portrait = talker.portrait(picture)
    subject, still = portrait.faces[0], portrait.picture
    crop, size, points = subject.crop, still.shape[:2], crop_points(subject.crop)
    regions = {name: region(points[list(group)], size, grow=0.15) for name, group in PARTS.items()}
    regions["face"] = region(points[list(FACE_OVAL)], size, order=2)
    sharpness_before = {name: laplacian_variance(still, inside) for name, inside in regions.items()}
    motion = talker.motion(portrait, speech, options)[0][1::every]
    frames = talker.draw(portrait, [motion], options)
    crops = talker.model.render_frames(subject, motion)
    ratios = {kind: {name: [] for name in PARTS} for kind in ("ours", "bicubic")}
    outside = np.ones(size, bool)
    outside[crop_slices(crop, size)] = False
    changed = np.zeros(size, bool)
    for frame, small in zip(frames, crops, strict=True):
        enlarged = np.asarray(Image.fromarray(small).resize((int(crop.side),) * 2, Image.Resampling.BICUBIC))
        changed |= (frame != still).any(-1)
        bicubic = paste_all(still, [feathered(still, enlarged[seen_part(crop)], crop)])
        for kind, pixels in (("ours", frame), ("bicubic", bicubic)):
            for name, inside in regions.items():
                ratios[kind][name].append(laplacian_variance(pixels, inside) / sharpness_before[name])
    facts: dict = {"size": size[::-1], "crop": int(crop.side), "frames": len(motion)}
    facts |= {kind: {name: float(np.mean(each)) for name, each in parts.items()} for kind, parts in ratios.items()}
    unchanged = float((~changed & ~outside).sum() / (~outside).sum())
    return facts | {"changed_outside_crop": int((changed & outside).sum()), "unchanged_in_crop": unchanged}
