"""How sharp is the moving face beside the picture it was made from? Variance of the Laplacian, at the picture's size.

    python -m scripts.study sharpness PICTURES... [--speech app/examples/speech.flac --seconds 2 --every 5]

For each picture: the face in every n-th frame over the same face in the picture (1 is as sharp), ours, and the crop of
256 pixels enlarged by bicubic interpolation, as the original AniTalker's output would have to be. Mouth and eyes apart.
Also how many pixels outside the mask differ from the picture (before encoding).
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from PIL import Image

from anitalker.config import SAMPLE_RATE, RenderOptions
from anitalker.faces.landmarks import EYES, FACE_OVAL, LIPS
from anitalker.faces.paste import paste_back
from anitalker.media.video import read_audio
from anitalker.pipeline import load
from scripts.studies.seams import crop_points, crop_slices

PARTS = {"face": FACE_OVAL, "mouth": LIPS, "eyes": EYES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--speech", default="app/examples/speech.flac")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--every", type=int, default=5, help="frames")
    parser.add_argument("--model", default="lite")


def run(arguments: argparse.Namespace) -> int:
    """One line of JSON per picture, then the means."""
    talker, options = load(arguments.model, "cpu"), RenderOptions(seed=1)
    speech = read_audio(arguments.speech)[: int(SAMPLE_RATE * arguments.seconds)]
    rows = []
    for path in arguments.pictures:
        rows.append(measure(talker, path, speech, arguments.every, options))
        print(json.dumps(rows[-1]), flush=True)
    for kind in ("ours", "bicubic"):
        print(kind, {name: round(float(np.mean([row[kind][name] for row in rows])), 3) for name in PARTS})
    return 0


def laplacian_variance(picture: np.ndarray, inside: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of the grey picture, uint8 [H,W,3], where inside [H,W] is true."""
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    edged = np.pad(grey, 1, "edge")
    laplacian = edged[:-2, 1:-1] + edged[2:, 1:-1] + edged[1:-1, :-2] + edged[1:-1, 2:] - 4 * grey
    return float(laplacian[inside].var())


def box_mask(points: np.ndarray, shape: tuple[int, int], grow: float = 0.15) -> np.ndarray:
    """bool [H,W]: the box around points [N,2] in pixels, a little larger."""
    low, high = points.min(0), points.max(0)
    low, high = low - grow * (high - low), high + grow * (high - low)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])


def ellipse_mask(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool [H,W]: the ellipse within the box around points [N,2] in pixels."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low) / 2
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return ((x - middle[0]) / half[0]) ** 2 + ((y - middle[1]) / half[1]) ** 2 < 1


@torch.inference_mode()
def measure(talker, path: str | np.ndarray, speech: np.ndarray, every: int, options: RenderOptions) -> dict:
    """Ratios to the picture's own sharpness for one picture, a file or pixels; shares are means over the frames."""
    portrait = talker.portrait(path)
    subject, picture = portrait.faces[0], portrait.picture
    crop, size = subject.crop, picture.shape[:2]
    points, side = crop_points(crop), int(crop.side)
    regions = {name: box_mask(points[list(group)], size) for name, group in PARTS.items()}
    regions["face"] = ellipse_mask(points[list(FACE_OVAL)], size)
    still = {name: laplacian_variance(picture, inside) for name, inside in regions.items()}
    motion = talker.motion(portrait, speech, options)[0][1::every]
    frames = talker.draw(portrait, [motion], options)
    crops = talker.model.render_frames(subject, motion, full=False)
    sharpness = {"ours": {name: [] for name in PARTS}, "bicubic": {name: [] for name in PARTS}}
    changed = np.zeros(size, bool)
    for frame, small in zip(frames, crops, strict=True):
        enlarged = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
        changed |= (frame != picture).any(-1)
        for kind, pixels in (("ours", frame), ("bicubic", paste_back(picture, enlarged, crop))):
            for name, inside in regions.items():
                sharpness[kind][name].append(laplacian_variance(pixels, inside) / still[name])
    square = np.zeros(size, bool)
    square[crop_slices(crop, size)] = True
    name = path if isinstance(path, str) else "pixels"
    facts = {"picture": name, "size": size[::-1], "crop": side, "frames": len(motion)}
    facts |= {kind: {key: float(np.mean(values)) for key, values in kept.items()} for kind, kept in sharpness.items()}
    facts["changed"] = {"of_picture": float(changed.mean()), "outside_crop": int((changed & ~square).sum())}
    return facts | {"of_crop": float((changed & square).sum() / square.sum())}
