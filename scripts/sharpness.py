"""How sharp is the moving face beside the picture it was made from? Variance of the Laplacian, at the picture's size.

    python -m scripts.sharpness PICTURES... --speech app/examples/speech.flac [--seconds 2] [--every 5]

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

from anitalker.config import RenderOptions
from anitalker.faces.landmarks import FACE_OVAL, LEFT_EYE, LIPS, RIGHT_EYE
from anitalker.faces.paste import paste_back
from anitalker.media.video import read_audio
from anitalker.pipeline import load

PARTS = {"face": FACE_OVAL, "mouth": LIPS, "eyes": (*RIGHT_EYE, *LEFT_EYE)}


def laplacian_variance(picture: np.ndarray, inside: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of the grey picture, uint8 [H,W,3], where inside [H,W] is true."""
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    edged = np.pad(grey, 1, "edge")
    lap = edged[:-2, 1:-1] + edged[2:, 1:-1] + edged[1:-1, :-2] + edged[1:-1, 2:] - 4 * grey
    return float(lap[inside].var())


def box_mask(points: np.ndarray, shape: tuple[int, int], grow: float = 0.15) -> np.ndarray:
    """bool [H,W]: the box around points [N,2] in pixels, a little larger."""
    low, high = points.min(0), points.max(0)
    low, high = low - grow * (high - low), high + grow * (high - low)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])


def ellipse_mask(points: np.ndarray, shape: tuple[int, int], grow: float = 0.0) -> np.ndarray:
    """bool [H,W]: the ellipse within the box around points [N,2] in pixels."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low) / 2 * (1 + grow)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return ((x - middle[0]) / half[0]) ** 2 + ((y - middle[1]) / half[1]) ** 2 < 1


def measure(talker, path: str | np.ndarray, speech: np.ndarray, every: int, options: RenderOptions) -> dict:
    """Ratios to the picture's own sharpness for one picture, a file or pixels; shares are means over the frames."""
    portrait = talker.portrait(path)
    subject, picture = portrait.faces[0], portrait.picture
    frame = subject.crop
    points = frame.landmarks[:, :2] * frame.side + np.array(frame.origin)
    regions = {
        name: (ellipse_mask if name == "face" else box_mask)(points[list(group)], picture.shape[:2])
        for name, group in PARTS.items()
    }
    still = {name: laplacian_variance(picture, inside) for name, inside in regions.items()}
    motion = talker.motion(portrait, speech, options)[0][1::every]
    ours, enlarged = ({name: [] for name in PARTS} for _ in range(2))
    small = talker.model.render_frames(subject, motion, full=False)
    moved = talker.draw(portrait, [motion], options)
    side = int(frame.side)
    ever = np.zeros(picture.shape[:2], bool)
    for whole, low in zip(moved, small, strict=True):
        up = np.asarray(Image.fromarray(low).resize((side, side), Image.Resampling.BICUBIC))
        up = paste_back(picture, up, frame)
        ever |= (whole != picture).any(-1)
        for name, inside in regions.items():
            ours[name].append(laplacian_variance(whole, inside) / still[name])
            enlarged[name].append(laplacian_variance(up, inside) / still[name])
    square = np.zeros(picture.shape[:2], bool)
    x, y = int(frame.origin[0]), int(frame.origin[1])
    square[max(y, 0) : y + side, max(x, 0) : x + side] = True
    name = path if isinstance(path, str) else "pixels"
    facts = {"picture": name, "size": picture.shape[1::-1], "crop": side, "frames": len(motion)}
    facts |= {"ours": {k: float(np.mean(v)) for k, v in ours.items()}}
    facts |= {"bicubic": {k: float(np.mean(v)) for k, v in enlarged.items()}}
    changed = {"of_picture": float(ever.mean()), "outside_crop": int((ever & ~square).sum())}
    return facts | {"changed": changed, "of_crop": float((ever & square).sum() / square.sum())}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Sharpness of moving faces beside their pictures.")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--speech", default="app/examples/speech.flac")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--every", type=int, default=5, help="frames")
    parser.add_argument("--model", default="lite")
    chosen = parser.parse_args(arguments)
    talker, options = load(chosen.model, "cpu"), RenderOptions(seed=1)
    speech = read_audio(chosen.speech)[: int(16_000 * chosen.seconds)]
    rows = []
    with torch.inference_mode():
        for path in chosen.pictures:
            rows.append(measure(talker, path, speech, chosen.every, options))
            print(json.dumps(rows[-1]), flush=True)
    for kind in ("ours", "bicubic"):
        print(kind, {name: round(float(np.mean([row[kind][name] for row in rows])), 3) for name in PARTS})


if __name__ == "__main__":
    main()
