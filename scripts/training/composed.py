"""Pictures as people have them, recomposed from stills: scenes of any size with several faces, in any file format.

Letters: H x W pixels of a scene, N = 468 points. A scene is decided by its seed and number alone.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anitalker.config import CROP
from scripts.training.scenes import beside_face, texture, to_pictures

SHORTEST, LONGEST = 640, 4096  # pixels of a scene's long side
SMALLEST_FACE = 44  # pixels of the longer side of the landmarks' box
MOST_FACES = 5
SHARES = (0.4, 0.2, 0.15, 0.15, 0.1)  # of scenes with 1 to 5 faces
ASPECTS = (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16)
FORMATS = ("jpeg", "webp", "jpeg", "png", "jpeg", "16 bit", "jpeg", "cmyk", "webp", "palette")  # scene n takes n mod 10
SUFFIX = {"jpeg": "jpg", "cmyk": "jpg", "webp": "webp"}  # else png
LOSSLESS = ("png", "16 bit")
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
    wanted, faces, rolls, sides = 1 + int(rng.choice(MOST_FACES, p=SHARES)), [], [], []
    at_border = bool(rng.random() < CUT)
    for which in rng.choice(len(stills), wanted, replace=False):
        roll = float(np.clip(rng.normal(0, 12), -35, 35))
        for _ in range(30):
            side = face_side(min(width, height), wanted, rng)
            centre = place(width, height, side, at_border and not faces, rng)
            points = moved(landmarks[which, :, :2], centre, side, roll)
            if all(apart(points, other) for other in faces):
                paste(scene, stills[which], landmarks[which, :, :2], centre, side, roll)
                faces.append(points), rolls.append(round(roll, 1)), sides.append(round(side))
                break
    facts = {"width": width, "height": height, "faces": len(faces), "rolls": rolls, "sides": sides}
    return Scene(np.asarray(scene), tuple(faces), facts | {"at_border": at_border})


def background(stills: np.ndarray, landmarks: np.ndarray, size: tuple[int, int], rng: np.random.Generator):
    """Octaves of noise, and what lies beside a face of the stills, without a face: a PIL picture of `size`."""
    which = rng.choice(len(stills), 4, replace=len(stills) < 4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        pictures = to_pictures(torch.from_numpy(np.ascontiguousarray(stills[which])))
        noise = texture(pictures, beside_face(torch.from_numpy(landmarks[which])), 1, 384)[0]
    low = ((noise.clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)


def face_side(short: int, faces: int, rng: np.random.Generator) -> float:
    """Longer side of the landmarks' box in pixels: of one face up to 70% of the short side, of several less."""
    low, high = (0.16, 0.7) if faces == 1 else (0.09, 0.7 / np.sqrt(2 * faces))
    return float(max(np.exp(rng.uniform(np.log(low), np.log(high))) * short, SMALLEST_FACE))


def place(width: int, height: int, side: float, at_border: bool, rng: np.random.Generator) -> np.ndarray:
    """Centre of a face; at a border up to a tenth of the face is cut off, never its mouth."""
    near = 0.55 * side
    x, y = rng.uniform(near, max(width - near, near + 1)), rng.uniform(near, max(height - near, near + 1))
    if at_border:
        way, cut = int(rng.integers(4)), rng.uniform(0.4, 0.6) * side
        x = cut if way == 0 else width - cut if way == 1 else x
        y = cut if way == 2 else height - max(cut, near) if way == 3 else y
    return np.array([x, y])


def apart(points: np.ndarray, other: np.ndarray) -> bool:
    """Whether two faces [N,2] stand so far apart that no still covers the other's face."""
    (low, high), (other_low, other_high) = ((face.min(0), face.max(0)) for face in (points, other))
    reach = 0.35 * float(max((high - low).max(), (other_high - other_low).max()))
    return bool(((low - reach > other_high) | (high + reach < other_low)).any())


def moved(points: np.ndarray, centre: np.ndarray, side: float, roll: float) -> np.ndarray:
    """Landmarks [N,2] in crop widths -> pixels of the scene; roll in degrees, clockwise."""
    low, high = points.min(0), points.max(0)
    turn = np.deg2rad(roll)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return ((points - (low + high) / 2) * side / (high - low).max()) @ matrix.T + centre


def paste(scene, still: np.ndarray, points: np.ndarray, centre: np.ndarray, side: float, roll: float) -> None:
    """A still, enlarged or reduced and turned, into the scene (a PIL picture), with a soft edge."""
    low, high = points.min(0), points.max(0)
    size = max(round(side / float((high - low).max())), 2)  # pixels of the whole still
    edge = np.minimum(np.arange(CROP), np.arange(CROP)[::-1]) / (0.1 * CROP)
    edge = np.clip(np.minimum(edge[:, None], edge[None]), 0, 1)
    mask = Image.fromarray((255 * edge * edge * (3 - 2 * edge)).astype(np.uint8))
    patch, mask = (image.resize((size, size), Image.Resampling.BICUBIC) for image in (Image.fromarray(still), mask))
    patch, mask = (image.rotate(-roll, Image.Resampling.BICUBIC, expand=True) for image in (patch, mask))
    turn = np.deg2rad(roll)
    away = ((low + high) / 2 - 0.5) * size
    away = np.array([np.cos(turn) * away[0] - np.sin(turn) * away[1], np.sin(turn) * away[0] + np.cos(turn) * away[1]])
    corner = centre - away - np.array(patch.size) / 2
    scene.paste(patch, tuple(int(v) for v in corner.round()), mask)


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
    if kind == "16 bit":
        path.write_bytes(png_16(np.asarray(picture), exif.tobytes()))
    elif kind == "palette":
        picture.quantize(256).save(path, exif=exif)
    elif kind == "png":
        picture.save(path, exif=exif, compress_level=3)
    else:
        picture = picture.convert("CMYK") if kind == "cmyk" else picture
        picture.save(path, quality=quality, exif=exif)
    compressed = {"quality": quality} if kind in ("jpeg", "cmyk", "webp") else {}
    return path, {"format": kind, **compressed, "orientation": orientation, "bytes": path.stat().st_size}


def png_16(pixels: np.ndarray, exif: bytes) -> bytes:
    """uint8 [H,W,3] as a PNG of 16 bits a channel, which Pillow does not write; its high bytes are the pixels."""
    height, width = pixels.shape[:2]
    rows = np.repeat(pixels.reshape(height, -1), 2, axis=1)  # v * 257, high byte first
    rows = np.concatenate([np.zeros((height, 1), np.uint8), rows], 1)  # filter 0 of each row
    out = io.BytesIO()
    out.write(b"\x89PNG\r\n\x1a\n")
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    exif = exif.removeprefix(b"Exif\x00\x00")
    for name, data in ((b"IHDR", head), (b"eXIf", exif), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b"")):
        out.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return out.getvalue()
