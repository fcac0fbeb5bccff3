"""Faces that are hard to find, made of val stills: turned, small, dark, covered, painted, cut by the border.

Pictures are uint8 [H,W,3], landmarks float [468,3] in their pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from anitalker.faces.detection import FaceFinder, box_of, iou
from scripts.training.face_scores import errors

GREY = (118, 118, 118)
Still = tuple[Image.Image, np.ndarray]


def rolled(image: Image.Image, points: np.ndarray, degrees: float) -> Still:
    """Turned in the picture's plane, clockwise."""
    turned = image.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=GREY)
    cosine, sine, moved = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), points.copy()
    offset = (points[:, :2] - np.array(image.size) / 2) @ np.array([[cosine, sine], [-sine, cosine]])
    moved[:, :2] = offset + np.array(turned.size) / 2
    return turned, moved


def small(image: Image.Image, points: np.ndarray, pixels: int) -> Still:
    """The face `pixels` long, in a picture of 640x480."""
    factor = pixels / float(np.ptp(points[:, :2], axis=0).max())
    size = (round(image.width * factor), round(image.height * factor))
    scene, place = Image.new("RGB", (640, 480), GREY), (200, 150)
    scene.paste(image.resize(size, Image.Resampling.LANCZOS), place)
    return scene, points * factor + [*place, 0]


def cut(image: Image.Image, points: np.ndarray, share: float) -> Still:
    """The left `share` of the face lies outside the picture."""
    x0, _, x1, _ = box_of(points)
    left = round(x0 + share * (x1 - x0))
    return image.crop((left, 0, image.width, image.height)), points - [left, 0, 0]


def covered(image: Image.Image, points: np.ndarray, top: float, bottom: float) -> Still:
    """A plain bar over the face from `top` to `bottom`, in heights of its box."""
    x0, y0, x1, y1 = box_of(points)
    done = image.copy()
    bar = (x0, y0 + top * (y1 - y0), x1, y0 + bottom * (y1 - y0))
    ImageDraw.Draw(done).rectangle(bar, fill=(40, 60, 90))
    return done, points


def drawn(image: Image.Image, points: np.ndarray) -> Still:
    """Dark lines on white: a pencil drawing after the photograph."""
    grey = ImageOps.grayscale(image)
    soft = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(6))
    dodged = np.minimum(255, np.asarray(grey, np.float32) * 255 / np.maximum(255 - np.asarray(soft, np.float32), 1))
    return Image.fromarray(dodged.astype(np.uint8)).convert("RGB"), points


def dark(image: Image.Image, points: np.ndarray) -> Still:
    """An eighth of the light, with the noise of a sensor."""
    pixels = np.asarray(image, np.float32) / 8 + np.random.default_rng(0).normal(0, 3, (image.height, image.width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), points


def recompressed(image: Image.Image, points: np.ndarray) -> Still:
    """JPEG of quality 8."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=8)
    return Image.open(file).convert("RGB"), points


KINDS: dict[str, Callable[[Image.Image, np.ndarray], Still]] = {
    "as it is": lambda image, points: (image, points),
    **{f"turned by {angle} degrees": partial(rolled, degrees=angle) for angle in (20, 45, 90, 180)},
    **{f"{size} pixels of 640": partial(small, pixels=size) for size in (24, 32, 48)},
    **{f"{round(100 * share)}% outside": partial(cut, share=share) for share in (0.2, 0.4)},
    "mouth covered": partial(covered, top=0.65, bottom=0.9),
    "eyes covered": partial(covered, top=0.2, bottom=0.42),
    "lower half covered": partial(covered, top=0.5, bottom=1.0),
    # Flat patches of few colours.
    "painting": lambda image, points: (ImageOps.posterize(image.filter(ImageFilter.ModeFilter(7)), 3), points),
    "drawing": drawn,
    "dark": dark,
    "JPEG 8": recompressed,
}


def hard_faces(finder: FaceFinder, stills: list[Still]) -> dict[str, dict]:
    """Per kind: share of faces not found (no box that overlaps the true one by half), and, of those found, the mean
    landmark error over the distance of the outer eye corners in percent (none found: None)."""
    report = {}
    for name, make in KINDS.items():
        pairs = []
        for still, points in stills:
            image, truth = make(still, points)
            box, faces = box_of(truth), finder.find(np.array(image))
            nearest = max(faces, key=lambda face, box=box: iou(face.box, box), default=None)
            if nearest is not None and iou(nearest.box, box) > 0.5:
                pairs.append((truth, nearest.landmarks))
        error = errors(*map(np.stack, zip(*pairs, strict=True)))["inter_ocular"] if pairs else None
        report[name] = {"missed": round(1 - len(pairs) / len(stills), 3), "inter_ocular": error}
    return report
