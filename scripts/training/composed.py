"""Pictures as people have them, recomposed from stills: scenes of any size with several faces, in any file format.

Letters: H x W pixels of a scene, N = 468 points. A scene is decided by its seed and number alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from encoders.image import to_tensor
from scripts.training.scenes import apart, beside_face, paste, place_points, random_roll, texture, to_image

SHORTEST, LONGEST = 640, 4096  # pixels of a scene's long side
SMALLEST_FACE = 44  # pixels of the longer side of the landmarks' box
MOST_FACES = 5
SHARES = (0.4, 0.2, 0.15, 0.15, 0.1)  # of scenes with 1 to 5 faces
ASPECTS = (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16)
FORMATS = ("jpeg", "webp", "jpeg", "png", "jpeg", "cmyk", "jpeg", "png", "webp", "palette")  # scene n takes n mod 10
SUFFIX = {"jpeg": "jpg", "cmyk": "jpg", "webp": "webp"}  # else png
LOSSLESS = ("png",)
TURNED, CUT = 0.4, 0.35  # shares: an EXIF tag that turns the picture; a first face at the border
# EXIF orientation -> what was done to an upright picture when it was stored.
STORED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90"}
STORED |= {7: "TRANSVERSE", 8: "ROTATE_270"}


@dataclass(frozen=True)
class Scene:
    """pixels uint8 [H,W,3] upright; faces: landmarks [N,2] in pixels of each; facts: how it was made, for a report."""

    pixels: np.ndarray
    faces: tuple[np.ndarray, ...]
    facts: dict


def compose(stills: np.ndarray, landmarks: np.ndarray, seed: int, number: int) -> Scene:
    """Scene `number` out of stills uint8 [S,256,256,3] and their landmarks [S,N,>=2] in crop widths."""
    rng = np.random.default_rng((seed, number))
    long = int(np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST))).round())
    aspect = float(rng.choice(ASPECTS))
    width, height = (long, round(long / aspect)) if aspect >= 1 else (round(long * aspect), long)
    scene = background(stills, landmarks, (width, height), rng)
    wanted, faces = 1 + int(rng.choice(MOST_FACES, p=SHARES)), []
    at_border = bool(rng.random() < CUT)
    for which in rng.choice(len(stills), wanted, replace=False):
        roll = random_roll(rng)
        for _ in range(30):
            side = face_side(min(width, height), wanted, rng)
            centre = face_centre(width, height, side, at_border and not faces, rng)
            points = place_points(landmarks[which, :, :2], centre, side, roll)
            if all(apart(points, other) for other in faces):
                paste(scene, stills[which], landmarks[which, :, :2], centre, side, roll)
                faces.append(points)
                break
    facts = {"width": width, "height": height, "faces": len(faces), "at_border": at_border}
    return Scene(np.asarray(scene), tuple(faces), facts)


def background(
    stills: np.ndarray, landmarks: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Octaves of noise, and what lies beside a face of the stills, without a face, in this size."""
    which = rng.choice(len(stills), 4, replace=len(stills) < 4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        pictures = to_tensor(torch.from_numpy(np.ascontiguousarray(stills[which])))
        noise = texture(pictures, beside_face(torch.from_numpy(landmarks[which])), 1, 384)[0]
    return to_image(noise).resize(size, Image.Resampling.BICUBIC)


def face_side(short: int, faces: int, rng: np.random.Generator) -> float:
    """Longer side of the landmarks' box in pixels: of one face up to 70% of the short side, of several less."""
    low, high = (0.16, 0.7) if faces == 1 else (0.09, 0.7 / np.sqrt(2 * faces))
    return float(max(np.exp(rng.uniform(np.log(low), np.log(high))) * short, SMALLEST_FACE))


def face_centre(width: int, height: int, side: float, at_border: bool, rng: np.random.Generator) -> np.ndarray:
    """Centre of a face; at a border up to a tenth of the face is cut off, never its mouth."""
    near = 0.55 * side
    x, y = rng.uniform(near, max(width - near, near + 1)), rng.uniform(near, max(height - near, near + 1))
    if at_border:
        way, cut = int(rng.integers(4)), rng.uniform(0.4, 0.6) * side
        x = cut if way == 0 else width - cut if way == 1 else x
        y = cut if way == 2 else height - max(cut, near) if way == 3 else y
    return np.array([x, y])


def store(scene: Scene, folder: Path, seed: int, number: int) -> tuple[Path, dict]:
    """The scene as a file NUMBER.SUFFIX in its format, perhaps turned by an EXIF tag -> path, facts."""
    rng = np.random.default_rng((seed, number, 1))
    kind, quality = FORMATS[number % len(FORMATS)], int(rng.integers(30, 96))
    orientation = int(rng.integers(2, 9)) if rng.random() < TURNED else 1
    picture, exif = Image.fromarray(scene.pixels), Image.Exif()
    if orientation > 1:
        picture = picture.transpose(Image.Transpose[STORED[orientation]])
    exif[274] = orientation
    path = folder / f"{number:03d}.{SUFFIX.get(kind, 'png')}"
    if kind in ("png", "palette"):
        (picture.quantize(256) if kind == "palette" else picture).save(path, exif=exif, compress_level=3)
        compressed = {}
    else:
        (picture.convert("CMYK") if kind == "cmyk" else picture).save(path, quality=quality, exif=exif)
        compressed = {"quality": quality}
    return path, {"format": kind, **compressed, "orientation": orientation, "bytes": path.stat().st_size}
