"""Things before a face, drawn onto pictures: masks, hands, microphones, scarves, cups, dark glasses; and things beside
it, which cover nothing that moves.

Every maker takes a picture uint8 [256,256,3], its landmarks [468,3] in crop widths, and a generator, and returns a new
picture. Drawn, shaded and softened: real ones look different, and nothing here proves how those fare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

SIDE, FINE = 256, 2  # pixels of a picture; shapes are drawn so many times larger
JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
CLOTH = ((120, 180, 220), (240, 240, 240), (30, 30, 35), (150, 200, 170), (235, 180, 200), (60, 80, 140), (200, 60, 60))
SKIN = ((255, 224, 196), (234, 192, 160), (198, 150, 115), (150, 105, 75), (100, 68, 48), (70, 48, 36))


class Sheet:
    """A shape in the making: the face's own axes, and a canvas FINE times as large, transparent where nothing is."""

    def __init__(self, points: np.ndarray) -> None:
        self.points = points[:, :2] * SIDE * FINE
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

    def onto(self, picture: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
        """Shaded by light from one side and by grain, its edge softened, over the picture."""
        light, grain = shading(rng), rng.normal(0, rng.uniform(0, 6), (SIDE, SIDE, 1))
        pixels = np.asarray(self.image, np.float32)
        pixels[..., :3] *= pixels[..., 3:] / 255  # so that no rim of what is transparent shows
        soft = pixels.reshape(SIDE, FINE, SIDE, FINE, 4).mean((1, 3))
        soft = gaussian_filter(soft, rng.uniform(0.2, 1.4), axes=(0, 1))
        weight = strength * soft[..., 3:] / 255
        drawn = strength * soft[..., :3] * light + weight * grain
        return ((1 - weight) * picture + drawn).clip(0, 255).astype(np.uint8)


def shading(rng: np.random.Generator) -> np.ndarray:
    """Factors [SIDE,SIDE,1]: a slope of light, and folds or blotches."""
    slope = np.add.outer(np.linspace(-1, 1, SIDE) * rng.normal(0, 0.15), np.linspace(-1, 1, SIDE) * rng.normal(0, 0.15))
    coarse = rng.normal(0, rng.uniform(0.02, 0.15), (int(rng.integers(3, 24)), int(rng.integers(3, 24))))
    folds = Image.fromarray(coarse.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return (rng.uniform(0.75, 1.1) + slope + np.asarray(folds))[..., None].clip(0.2, 1.5)


def colour(rng: np.random.Generator, usual: tuple = CLOTH, odd: float = 0.35) -> tuple:
    """One of the usual colours, a little off, or any."""
    base = rng.integers(0, 256, 3) if rng.random() < odd else np.array(usual[int(rng.integers(len(usual)))])
    return tuple(int(v) for v in (base + rng.normal(0, 12, 3)).clip(0, 255))


def skin(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple:
    """Half of the time the person's own, from the cheeks."""
    if rng.random() < 0.5:
        return colour(rng, SKIN, 0)
    x, y = (points[[50, 280], :2].mean(0) * SIDE if rng.random() < 0.3 else points[50, :2] * SIDE).clip(2, SIDE - 3)
    cheek = picture[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].reshape(-1, 3).mean(0)
    return tuple(int(v) for v in (cheek * rng.uniform(0.75, 1.1)).clip(0, 255))


def surgical_mask(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From the nose to the chin and from cheek to cheek, with pleats and straps."""
    sheet, tone = Sheet(points), colour(rng)
    cut = int(rng.integers(1, 5))  # how far up the cheeks it goes
    jaw = [sheet.at(sheet.points[n], 0, rng.uniform(0, 0.03)) for n in JAW[cut : len(JAW) - cut]]
    top = sheet.points[int(rng.choice([6, 197, 195, 5, 4]))]
    sheet.shape([*jaw, sheet.at(top, 0.12, 0.02), top, sheet.at(top, -0.12, 0.02)], tone)
    for ear, side in ((234, jaw[0]), (454, jaw[-1])):
        if rng.random() < 0.7:
            sheet.bar(side, sheet.points[ear], 0.012, tone)
    dark = tuple(int(v * rng.uniform(0.75, 0.95)) for v in tone)
    for down in np.linspace(-0.05, 0.12, int(rng.integers(0, 5))):
        sheet.bar(sheet.at(sheet.mouth, -0.22, down), sheet.at(sheet.mouth, 0.22, down), 0.008, dark)
    return sheet.onto(picture, rng)


def hand(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A palm and fingers over the mouth, from one side or from below."""
    sheet, tone = Sheet(points), skin(picture, points, rng)
    way = 1 if rng.random() < 0.5 else -1
    palm = sheet.at(sheet.mouth, way * rng.uniform(0.1, 0.3), rng.uniform(0.02, 0.25))
    sheet.oval(palm, rng.uniform(0.14, 0.2), rng.uniform(0.14, 0.22), tone, power=2.5)
    dark = tuple(int(v * 0.8) for v in tone)
    for n in range(4):
        start = sheet.at(palm, -way * 0.05, -0.1 + 0.065 * n)
        tip = sheet.at(sheet.mouth, -way * rng.uniform(0.14, 0.24), -0.11 + 0.065 * n + rng.normal(0, 0.012))
        sheet.bar(start, tip, 0.078, dark)
        sheet.bar(start, tip, 0.066, tone)
    return sheet.onto(picture, rng)


def microphone(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A ball of wire or foam before the lips, on its handle."""
    sheet, tone = Sheet(points), colour(rng, ((25, 25, 28), (70, 70, 75), (150, 150, 155)), 0.25)
    head = sheet.at(sheet.mouth, rng.normal(0, 0.015), rng.uniform(-0.01, 0.05))
    radius = rng.uniform(0.14, 0.2)
    lean = rng.normal(0, 0.3)
    sheet.bar(head, sheet.at(head, lean, 0.9), radius, tuple(int(v * 0.7) for v in tone))
    sheet.oval(head, radius, radius * rng.uniform(0.9, 1.2), tone)
    light = tuple(min(int(v * 1.5) + 20, 255) for v in tone)
    for n in np.linspace(-0.8, 0.8, int(rng.integers(0, 9))):
        ends = (sheet.at(head, n * radius, way * radius) for way in (-0.5, 0.5))
        sheet.bar(*ends, 0.005, light)
    return sheet.onto(picture, rng)


def patch(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A plain box or ellipse over the lips."""
    sheet = Sheet(points)
    power = 2.0 if rng.random() < 0.5 else 12.0
    sheet.oval(sheet.mouth, rng.uniform(0.19, 0.28), rng.uniform(0.1, 0.2), colour(rng, odd=0.8), power=power)
    return sheet.onto(picture, rng)


def scarf(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wound around chin and mouth, wider than the face, with stripes."""
    sheet, tone, other = Sheet(points), colour(rng, odd=0.6), colour(rng, odd=0.6)
    high, wide = rng.uniform(-0.13, -0.08), rng.uniform(0.5, 0.7)
    sheet.shape(
        [sheet.at(sheet.mouth, *v) for v in ((-wide, high + 0.05), (0, high), (wide, high + 0.03))]
        + [sheet.at(sheet.mouth, *v) for v in ((wide + 0.2, 0.9), (-wide - 0.2, 0.9))],
        tone,
    )
    for down in np.arange(high + 0.08, 0.8, rng.uniform(0.05, 0.2)) if rng.random() < 0.7 else ():
        ends = (sheet.at(sheet.mouth, -wide, down + 0.03), sheet.at(sheet.mouth, wide, down + rng.normal(0, 0.05)))
        sheet.bar(*ends, 0.02, other)
    return sheet.onto(picture, rng)


def cup(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mug before the mouth: wider above, its rim an ellipse, a handle at one side."""
    sheet, tone = Sheet(points), colour(rng, ((245, 245, 240), (200, 40, 40), (40, 60, 110), (120, 80, 50)), 0.4)
    dark = tuple(int(v * 0.75) for v in tone)
    rim = sheet.at(sheet.mouth, rng.normal(0, 0.02), rng.uniform(-0.11, -0.07))
    wide, deep = rng.uniform(0.2, 0.27), rng.uniform(0.35, 0.5)
    way = 1 if rng.random() < 0.5 else -1
    sheet.oval(sheet.at(rim, way * wide, deep / 2), 0.1, 0.12, dark)
    narrow = wide * rng.uniform(0.75, 1)
    sheet.shape([sheet.at(rim, *v) for v in ((-wide, 0), (wide, 0), (narrow, deep), (-narrow, deep))], tone)
    sheet.oval(rim, wide, 0.03, dark)
    return sheet.onto(picture, rng)


def dark_glasses(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two lenses that hide the eyes, and their frame."""
    sheet, tone = Sheet(points), colour(rng, ((15, 15, 18), (40, 30, 25), (30, 40, 60)), 0.1)
    power, wide, high = rng.uniform(2, 5), rng.uniform(0.13, 0.17), rng.uniform(0.08, 0.13)
    eyes = [sheet.at(sheet.points[list(pair)].mean(0), 0, 0.01) for pair in ((33, 133), (362, 263))]
    sheet.bar(*eyes, 0.02, tone)
    for eye, ear in zip(eyes, (127, 356), strict=True):
        sheet.bar(eye, sheet.points[ear], 0.02, tone)
        sheet.oval(eye, wide, high, tone, power=power)
    return sheet.onto(picture, rng, rng.uniform(0.9, 1))


def eye_bar(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The bar that makes people anonymous."""
    sheet = Sheet(points)
    middle = sheet.points[[33, 133, 362, 263]].mean(0)
    sheet.oval(middle, rng.uniform(0.34, 0.45), rng.uniform(0.07, 0.12), colour(rng, odd=0.5), power=12)
    return sheet.onto(picture, rng)


def beside(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Something that covers neither mouth nor eyes: on the forehead, at the neck, at a cheek's edge, in the air."""
    sheet, tone = Sheet(points), colour(rng, CLOTH + SKIN, 0.4)
    kind = int(rng.integers(4))
    if kind == 0:  # a hat or a fringe
        sheet.oval(sheet.at(sheet.points[10], 0, -0.15), rng.uniform(0.4, 0.7), rng.uniform(0.15, 0.22), tone, power=4)
    elif kind == 1:  # a collar, a scarf at the neck
        sheet.oval(sheet.at(sheet.points[152], rng.normal(0, 0.1), 0.45), 0.8, rng.uniform(0.3, 0.42), tone, power=5)
    elif kind == 2:  # a hand or a phone at one side
        way = 1 if rng.random() < 0.5 else -1
        middle = sheet.at(sheet.points[454 if way > 0 else 234], way * 0.16, rng.uniform(-0.2, 0.4))
        sheet.oval(middle, 0.14, rng.uniform(0.15, 0.3), tone, power=rng.uniform(2, 8))
    else:  # a microphone that is held low
        head = sheet.at(sheet.points[152], rng.normal(0, 0.08), rng.uniform(0.2, 0.3))
        sheet.bar(head, sheet.at(head, rng.normal(0, 0.2), 0.8), 0.14, tone)
        sheet.oval(head, 0.14, 0.15, tone)
    return sheet.onto(picture, rng)


Maker = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
MOUTH_TAUGHT: dict[str, Maker] = {"mask": surgical_mask, "hand": hand, "microphone": microphone, "patch": patch}
MOUTH_UNSEEN: dict[str, Maker] = {"scarf": scarf, "cup": cup}  # never shown in training: do others count, too?
EYES_TAUGHT: dict[str, Maker] = {"dark glasses": dark_glasses}
EYES_UNSEEN: dict[str, Maker] = {"bar over the eyes": eye_bar}
HARMLESS: dict[str, Maker] = {"beside the face": beside}
