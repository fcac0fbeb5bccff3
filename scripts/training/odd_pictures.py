"""Pictures that are no faces to animate, made from pictures that are: what the check of a portrait is measured on."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from anitalker.faces.landmarks import FACE_OVAL, LEFT_EYE, RIGHT_EYE
from scripts.training.occluders import SIDE, Maker, eye_bar, patch, surgical_mask


def stretched(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Twice as wide or as high as it was."""
    size = (2 * SIDE, SIDE) if rng.random() < 0.5 else (SIDE, 2 * SIDE)
    return np.asarray(Image.fromarray(picture).resize(size))


def upside_down(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned by 180 degrees."""
    return np.ascontiguousarray(picture[::-1, ::-1])


def shuffled(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sixteen tiles in another order: skin and hair, no face."""
    tiles = picture.reshape(4, 64, 4, 64, 3).swapaxes(1, 2).reshape(16, 64, 64, 3)[rng.permutation(16)]
    return tiles.reshape(4, 4, 64, 64, 3).swapaxes(1, 2).reshape(SIDE, SIDE, 3)


def half(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut in the middle of the face, the rest grey."""
    out, x = picture.copy(), int(points[1, 0] * SIDE)
    out[:, x:] = 128
    return out


def blurred(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nothing is left but colours."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(14)))


def animal(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A drawn animal: a head, ears, two eyes, a snout."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(int(c) for c in rng.integers(120, 255, 3)))
    draw = ImageDraw.Draw(image)
    skin, dark = tuple(int(c) for c in rng.integers(90, 250, 3)), tuple(int(c) for c in rng.integers(0, 80, 3))
    r, x, y = rng.uniform(60, 90), 128 + rng.uniform(-15, 15), 135 + rng.uniform(-10, 10)

    def oval(cx, cy, w, h, fill):
        draw.ellipse((cx - w, cy - h, cx + w, cy + h), fill=fill, outline=dark, width=2)

    for way in (-1, 1):
        ear = [(x + way * r * 0.9, y - r * 0.3), (x + way * r * 0.3, y - r * 0.8), (x + way * r * 0.9, y - r * 1.3)]
        draw.polygon(ear, fill=skin, outline=dark)
    oval(x, y, r, r * rng.uniform(0.8, 1.1), skin)
    for way in (-1, 1):
        oval(x + way * r * 0.4, y - r * 0.25, r * 0.13, r * 0.16, (250, 250, 250))
        oval(x + way * r * 0.4, y - r * 0.25, r * 0.06, r * 0.08, dark)
        oval(x + way * r * 0.12, y + r * 0.3, r * 0.05, r * 0.08, dark)
    draw.ellipse((x - r * 0.35, y + r * 0.1, x + r * 0.35, y + r * 0.5), outline=dark, width=3)
    draw.arc((x - r * 0.4, y + r * 0.3, x + r * 0.4, y + r * 0.8), 20, 160, fill=dark, width=3)
    return np.asarray(image)


def texture(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Octaves of coloured noise."""
    out = np.zeros((SIDE, SIDE, 3))
    for cells in (2, 4, 8, 16, 32, 64):
        grain = Image.fromarray(rng.integers(0, 255, (cells, cells, 3), np.uint8)).resize((SIDE, SIDE))
        out += (np.asarray(grain) - 127.5) * rng.uniform(0.2, 1)
    return (out + 127.5).clip(0, 255).astype(np.uint8)


def drawing(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The face's own outlines in black on white: a stick drawing of it."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for ring in (FACE_OVAL, RIGHT_EYE, LEFT_EYE, (61, 0, 291, 17)):
        flat = [tuple(p) for p in points[list(ring), :2] * SIDE]
        draw.line([*flat, flat[0]], fill="black", width=3)
    draw.line([tuple(p) for p in points[[6, 4, 2], :2] * SIDE], fill="black", width=3)
    return np.asarray(image)


KINDS: dict[str, Maker] = {
    "covered mouth": patch,
    "covered eyes": eye_bar,
    "mask": surgical_mask,
    "half a face": half,
    "stretched to double": stretched,
    "upside down": upside_down,
    "blurred away": blurred,
    "stick drawing": drawing,
    "drawn animal": animal,
    "shuffled tiles": shuffled,
    "texture": texture,
}
