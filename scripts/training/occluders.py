"""Pictures to test and train the checks of a portrait with: things drawn before a face (masks, hands, microphones,
scarves, dark glasses), things beside it that cover nothing, and pictures that are no faces to animate.

Every maker takes a picture uint8 [256,256,3], its landmarks [468,3] in crop widths, and a generator, and returns a new
picture. Drawn, shaded and softened: real ones look different, and nothing here proves how those fare.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter

from scripts.training.scenes import shuffle_tiles

SIDE, FINE = 256, 2  # pixels of a picture; shapes are drawn so many times larger
JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
CLOTH = ((120, 180, 220), (240, 240, 240), (30, 30, 35), (150, 200, 170), (235, 180, 200), (60, 80, 140), (200, 60, 60))
SKIN = ((255, 224, 196), (234, 192, 160), (198, 150, 115), (150, 105, 75), (100, 68, 48), (70, 48, 36))
METAL = ((25, 25, 28), (70, 70, 75), (150, 150, 155))
LENSES = ((15, 15, 18), (40, 30, 25), (30, 40, 60))

Maker = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


class Sheet:
    """A shape in the making: the face's own axes, and a canvas FINE times as large, transparent where nothing is."""

    def __init__(self, points: np.ndarray, rng: np.random.Generator) -> None:
        self.points, self.rng = points[:, :2] * SIDE * FINE, rng
        down = self.points[152] - self.points[10]
        self.height = float(np.linalg.norm(down))
        self.down = down / self.height
        self.right = np.array([self.down[1], -self.down[0]])
        self.mouth = self.points[[13, 14, 61, 291]].mean(0)
        self.image = Image.new("RGBA", (SIDE * FINE,) * 2)
        self.draw = ImageDraw.Draw(self.image)

    def at(self, start: np.ndarray, right: float, down: float) -> np.ndarray:
        """So many face heights from a point along the face's axes."""
        return start + self.height * (right * self.right + down * self.down)

    def colour(self, usual: tuple = CLOTH, odd: float = 0.35) -> tuple:
        """One of the usual colours, a little off, or any."""
        any_colour = self.rng.random() < odd
        base = self.rng.integers(0, 256, 3) if any_colour else np.array(usual[int(self.rng.integers(len(usual)))])
        return tuple(int(v) for v in (base + self.rng.normal(0, 12, 3)).clip(0, 255))

    def side(self) -> int:
        """1 or -1."""
        return 1 if self.rng.random() < 0.5 else -1

    def shape(self, outline, colour: tuple) -> None:
        """A filled polygon."""
        self.draw.polygon([tuple(map(float, point)) for point in outline], fill=colour)

    def oval(self, middle, right: float, down: float, colour: tuple, power: float = 2.0) -> None:
        """An ellipse (power 2) to a rounded box, half as wide and high as said, in face heights."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        x, y = (np.sign(f(angle)) * np.abs(f(angle)) ** (2 / power) for f in (np.cos, np.sin))
        self.shape([self.at(middle, right * a, down * b) for a, b in zip(x, y, strict=True)], colour)

    def bar(self, start, end, width: float, colour: tuple) -> None:
        """A straight bar with round ends, `width` face heights thick."""
        pixels = max(round(width * self.height), 1)
        self.draw.line([tuple(start), tuple(end)], fill=colour, width=pixels)
        for middle in (np.array(start), np.array(end)):
            self.draw.ellipse((*(middle - pixels / 2), *(middle + pixels / 2)), fill=colour)

    def onto(self, picture: np.ndarray) -> np.ndarray:
        """Shaded by light from one side and by grain, its edge softened, over the picture."""
        rng, axis = self.rng, np.linspace(-1, 1, SIDE)
        light = rng.uniform(0.75, 1.1) + np.add.outer(axis * rng.normal(0, 0.15), axis * rng.normal(0, 0.15))
        grain = rng.normal(0, rng.uniform(0, 6), (SIDE, SIDE, 1))
        pixels = np.asarray(self.image, np.float32)
        pixels[..., :3] *= pixels[..., 3:] / 255  # so that no rim of what is transparent shows
        soft = pixels.reshape(SIDE, FINE, SIDE, FINE, 4).mean((1, 3))
        soft = gaussian_filter(soft, rng.uniform(0.2, 1.4), axes=(0, 1))
        weight = soft[..., 3:] / 255
        drawn = soft[..., :3] * light[..., None].clip(0.2, 1.5) + weight * grain
        return ((1 - weight) * picture + drawn).clip(0, 255).astype(np.uint8)


def darker(colour: tuple, factor: float) -> tuple:
    """A colour times a factor."""
    return tuple(int(v * factor) for v in colour)


def maker(draw: Callable[[Sheet, np.random.Generator], None]) -> Maker:
    """What draws on a sheet as a maker of pictures."""

    @functools.wraps(draw)
    def make(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sheet = Sheet(points, rng)
        draw(sheet, rng)
        return sheet.onto(picture)

    return make


@maker
def surgical_mask(sheet: Sheet, rng: np.random.Generator) -> None:
    """From the nose to the chin and from cheek to cheek, with pleats and straps."""
    colour, cut = sheet.colour(), int(rng.integers(1, 5))  # cut: how far up the cheeks it goes
    jaw = [sheet.at(sheet.points[n], 0, rng.uniform(0, 0.03)) for n in JAW[cut : len(JAW) - cut]]
    top = sheet.points[int(rng.choice([6, 197, 195, 5, 4]))]
    sheet.shape([*jaw, sheet.at(top, 0.12, 0.02), top, sheet.at(top, -0.12, 0.02)], colour)
    for ear, end in ((234, jaw[0]), (454, jaw[-1])):
        sheet.bar(end, sheet.points[ear], 0.012, colour)
    pleat = darker(colour, rng.uniform(0.75, 0.95))
    for down in np.linspace(-0.05, 0.12, int(rng.integers(0, 5))):
        sheet.bar(sheet.at(sheet.mouth, -0.22, down), sheet.at(sheet.mouth, 0.22, down), 0.008, pleat)


@maker
def hand(sheet: Sheet, rng: np.random.Generator) -> None:
    """A palm and fingers over the mouth, from one side or from below."""
    colour, way = sheet.colour(SKIN, 0), sheet.side()
    palm = sheet.at(sheet.mouth, way * rng.uniform(0.1, 0.3), rng.uniform(0.02, 0.25))
    sheet.oval(palm, rng.uniform(0.14, 0.2), rng.uniform(0.14, 0.22), colour, power=2.5)
    for n in range(4):
        start = sheet.at(palm, -way * 0.05, -0.1 + 0.065 * n)
        tip = sheet.at(sheet.mouth, -way * rng.uniform(0.14, 0.24), -0.11 + 0.065 * n + rng.normal(0, 0.012))
        sheet.bar(start, tip, 0.078, darker(colour, 0.8))
        sheet.bar(start, tip, 0.066, colour)


@maker
def microphone(sheet: Sheet, rng: np.random.Generator) -> None:
    """A ball of foam before the lips, on its handle."""
    colour, radius = sheet.colour(METAL, 0.25), rng.uniform(0.14, 0.2)
    head = sheet.at(sheet.mouth, rng.normal(0, 0.015), rng.uniform(-0.01, 0.05))
    sheet.bar(head, sheet.at(head, rng.normal(0, 0.3), 0.9), radius, darker(colour, 0.7))
    sheet.oval(head, radius, radius * rng.uniform(0.9, 1.2), colour)


@maker
def patch(sheet: Sheet, rng: np.random.Generator) -> None:
    """A plain box or ellipse over the lips."""
    power = 2.0 if rng.random() < 0.5 else 12.0
    sheet.oval(sheet.mouth, rng.uniform(0.19, 0.28), rng.uniform(0.1, 0.2), sheet.colour(odd=0.8), power)


@maker
def scarf(sheet: Sheet, rng: np.random.Generator) -> None:
    """Wound around chin and mouth, wider than the face."""
    high, wide = rng.uniform(-0.13, -0.08), rng.uniform(0.5, 0.7)
    outline = ((-wide, high + 0.05), (0, high), (wide, high + 0.03), (wide + 0.2, 0.9), (-wide - 0.2, 0.9))
    sheet.shape([sheet.at(sheet.mouth, *corner) for corner in outline], sheet.colour(odd=0.6))


@maker
def dark_glasses(sheet: Sheet, rng: np.random.Generator) -> None:
    """Two lenses that hide the eyes, and their frame."""
    colour, power = sheet.colour(LENSES, 0.1), rng.uniform(2, 5)
    wide, high = rng.uniform(0.13, 0.17), rng.uniform(0.08, 0.13)
    eyes = [sheet.at(sheet.points[list(pair)].mean(0), 0, 0.01) for pair in ((33, 133), (362, 263))]
    sheet.bar(*eyes, 0.02, colour)
    for eye, ear in zip(eyes, (127, 356), strict=True):
        sheet.bar(eye, sheet.points[ear], 0.02, colour)
        sheet.oval(eye, wide, high, colour, power)


@maker
def eye_bar(sheet: Sheet, rng: np.random.Generator) -> None:
    """The bar that makes people anonymous."""
    middle = sheet.points[[33, 133, 362, 263]].mean(0)
    sheet.oval(middle, rng.uniform(0.34, 0.45), rng.uniform(0.07, 0.12), sheet.colour(odd=0.5), 12)


@maker
def beside(sheet: Sheet, rng: np.random.Generator) -> None:
    """Something that covers neither mouth nor eyes: a hat, a collar, or a hand or phone at one side."""
    colour, kind, way = sheet.colour(CLOTH + SKIN, 0.4), int(rng.integers(3)), sheet.side()
    if kind == 0:
        sheet.oval(sheet.at(sheet.points[10], 0, -0.15), rng.uniform(0.4, 0.7), rng.uniform(0.15, 0.22), colour, 4)
    elif kind == 1:
        sheet.oval(sheet.at(sheet.points[152], rng.normal(0, 0.1), 0.45), 0.8, rng.uniform(0.3, 0.42), colour, 5)
    else:
        middle = sheet.at(sheet.points[454 if way > 0 else 234], way * 0.16, rng.uniform(-0.2, 0.4))
        sheet.oval(middle, 0.14, rng.uniform(0.15, 0.3), colour, rng.uniform(2, 8))


def upside_down(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned by 180 degrees."""
    return np.ascontiguousarray(picture[::-1, ::-1])


def half(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut in the middle of the face, the rest grey."""
    cut = picture.copy()
    cut[:, int(points[1, 0] * SIDE) :] = 128
    return cut


def blurred(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nothing is left but colours."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(14)))


MOUTH_TAUGHT: dict[str, Maker] = {"mask": surgical_mask, "hand": hand, "microphone": microphone, "patch": patch}
MOUTH_UNSEEN: dict[str, Maker] = {"scarf": scarf}  # never shown in training: do others count, too?
EYES_TAUGHT: dict[str, Maker] = {"dark glasses": dark_glasses}
EYES_UNSEEN: dict[str, Maker] = {"bar over the eyes": eye_bar}
HARMLESS: dict[str, Maker] = {"beside the face": beside}
ODD: dict[str, Maker] = {
    "covered mouth": patch,
    "covered eyes": eye_bar,
    "mask": surgical_mask,
    "half a face": half,
    "upside down": upside_down,
    "blurred away": blurred,
    "shuffled tiles": lambda picture, points, rng: shuffle_tiles(picture, points[:, :2], rng),
}
