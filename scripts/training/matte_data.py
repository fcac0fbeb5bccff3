"""Portraits with mattes, and examples made of them: as they are, or cut out and laid over other backgrounds.

Mattes are 8-bit pictures `LABELS/stills/ID.png`, one per still of the data folder that has one. Portraits that show
more of the body, to learn from, may lie beside them: `LABELS/wide/ID.jpg` with `ID.png`, of one size. Backgrounds are
pictures without people in a folder of their own. Letters: B examples, S = 256 pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP, InputError
from anitalker.matte.foreground import estimate_foreground
from encoders.image import to_tensor
from scripts.training.augment import colour, degrade
from scripts.training.data import load_stills

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
AS_THEY_ARE = 0.35  # of examples: with their own background
PHOTOGRAPH, PLAIN = 0.6, 0.25  # of new backgrounds: photographs; colours and gradients; the rest: photographs, blurred
SMALLEST, LARGEST = 0.5, 1.35  # of a portrait on its new background
CUT = 40  # of 255: alpha at the upper edge from which a head counts as cut off
FOREIGN_LIGHT = 0.25  # how far brightness and tint of a cut-out portrait change against its background


@dataclass(frozen=True)
class MatteBatch:
    """pictures [B,3,S,S] in [-1,1]; alpha [B,1,S,S] in 0..1."""

    pictures: Tensor
    alpha: Tensor

    def to(self, device: torch.device | str) -> MatteBatch:
        """The same batch on a device."""
        return MatteBatch(self.pictures.to(device), self.alpha.to(device))


@dataclass(frozen=True)
class Mattes:
    """Portraits of one split: pictures uint8 [N,S,S,3], alpha uint8 [N,S,S]."""

    pictures: np.ndarray
    alpha: np.ndarray

    @functools.cached_property
    def _foregrounds(self) -> dict[int, np.ndarray]:
        return {}

    def foreground(self, number: int) -> np.ndarray:
        """The colours of one portrait, uint8 [S,S,3], without those of its background."""
        if number not in self._foregrounds:
            alpha = self.alpha[number].astype(np.float32) / 255
            self._foregrounds[number] = estimate_foreground(self.pictures[number], alpha)
        return self._foregrounds[number]

    def batch(self, numbers: np.ndarray) -> MatteBatch:
        """Some of them as they are."""
        alpha = torch.from_numpy(self.alpha[numbers])[:, None].float() / 255
        return MatteBatch(to_tensor(torch.from_numpy(self.pictures[numbers])), alpha)


def load_mattes(data: str | Path, labels: str | Path, split: str) -> Mattes:
    """Read the stills of a split that have a matte; InputError where there is none."""
    pictures, alphas = [], []
    for row, picture, _ in load_stills(data, (split,)):
        file = Path(labels) / "stills" / f"{row['id']}.png"
        if not file.is_file():
            continue
        alpha = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if alpha is None or alpha.shape != (CROP, CROP):
            raise InputError(f"{file} is no matte of {CROP}x{CROP} pixels; make it again with scripts.label_mattes")
        pictures.append(picture)
        alphas.append(alpha)
    for picture, alpha in _wide_portraits(Path(labels) / "wide") if split == "train" else ():
        pictures.append(picture)
        alphas.append(alpha)
    if not pictures:
        raise InputError(f"no still of {split} has a matte in {str(labels)!r}; make them with scripts.label_mattes")
    return Mattes(np.stack(pictures), np.stack(alphas))


def _wide_portraits(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Squares of pictures uint8 [S,S,3] and of their mattes: both ends of each, or all of a square one."""
    for file in sorted(folder.glob("*.jpg")):
        picture, alpha = cv2.imread(str(file), cv2.IMREAD_COLOR), cv2.imread(str(file.with_suffix(".png")), 0)
        if picture is None or alpha is None or picture.shape[:2] != alpha.shape:
            continue
        scale = CROP / min(alpha.shape)
        size = round(scale * alpha.shape[1]), round(scale * alpha.shape[0])
        whole = np.dstack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.resize(alpha, size)])
        ends = (whole[:CROP, :CROP], whole[-CROP:, -CROP:])
        for part in ends if max(size) > 1.05 * CROP else ends[:1]:
            yield cv2.cvtColor(np.ascontiguousarray(part[..., :3]), cv2.COLOR_BGR2RGB), part[..., 3]


def load_backgrounds(folder: str | Path | None) -> list[np.ndarray]:
    """Read all pictures of a folder as uint8 [h,w,3]; None: there are none."""
    files = [] if folder is None else [f for f in sorted(Path(folder).iterdir()) if f.suffix.lower() in SUFFIXES]
    read = (cv2.imread(str(file), cv2.IMREAD_COLOR) for file in files)
    return [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in read if picture is not None]


class MatteSampler:
    """Draws examples from portraits and backgrounds."""

    def __init__(self, mattes: Mattes, backgrounds: list[np.ndarray]) -> None:
        self.mattes, self.backgrounds = mattes, [b for b in backgrounds if min(b.shape[:2]) >= CROP // 2]

    def draw(self, count: int, seed: int) -> MatteBatch:
        """`count` examples, the same for the same seed (and torch's global generator, for colours)."""
        rng = np.random.default_rng(seed)
        made = [self._example(rng) for _ in range(count)]
        pictures = to_tensor(torch.from_numpy(np.stack([picture for picture, _ in made])))
        alpha = torch.from_numpy(np.stack([alpha for _, alpha in made]))[:, None].float() / 255
        return MatteBatch(degrade(colour(pictures, 0.5)), alpha)

    def _example(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        number = int(rng.integers(len(self.mattes.pictures)))
        kept = rng.random() < AS_THEY_ARE
        picture = self.mattes.pictures[number] if kept else self.mattes.foreground(number)
        alpha = self.mattes.alpha[number]
        if kept or alpha[0].max() > CUT:  # what lies above is not known
            place = _placement(rng, rng.uniform(1, LARGEST), cut=True)
        else:
            place = _placement(rng, np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
        picture, alpha = _place(_extend(picture), place), _place(_extend_alpha(alpha), place)
        if not kept:
            picture = self._lay(picture, alpha, rng)
        if rng.random() < 0.5:
            picture, alpha = picture[:, ::-1], alpha[:, ::-1]
        return np.ascontiguousarray(picture), np.ascontiguousarray(alpha)

    def _lay(self, front: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A cut-out portrait, in a light of its own, over a new background."""
        gain = 1 + FOREIGN_LIGHT * (rng.uniform(-1, 1) + 0.5 * rng.uniform(-1, 1, 3))
        share = alpha[..., None].astype(np.float32) / 255
        front = (front * gain).clip(0, 255)
        behind = self._background(rng, front, share)
        return np.rint(behind + share * (front - behind)).astype(np.uint8)

    def _background(self, rng: np.random.Generator, front: np.ndarray, share: np.ndarray) -> np.ndarray:
        """float32 [S,S,3] of 255; plain ones are of the portrait's own mean colour now and then: that is hard."""
        kind = rng.random()
        if not self.backgrounds or PHOTOGRAPH <= kind < PHOTOGRAPH + PLAIN:
            corners = rng.uniform(0, 255, (2, 2, 3))
            if rng.random() < 0.3:
                corners = (front * share).sum((0, 1)) / (share.sum() + 1) + rng.normal(0, 30, (2, 2, 3))
            if rng.random() < 0.4:
                corners[:] = corners[0, 0]
            plain = cv2.resize(corners.astype(np.float32), (CROP, CROP), interpolation=cv2.INTER_LINEAR)
            return (plain + rng.normal(0, rng.uniform(0, 6), plain.shape)).clip(0, 255)
        photograph = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        height, width = photograph.shape[:2]
        side = int(rng.uniform(0.35, 1) * min(height, width))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        part = cv2.resize(photograph[top : top + side, left : left + side], (CROP, CROP), interpolation=cv2.INTER_AREA)
        if kind >= PHOTOGRAPH + PLAIN:
            part = cv2.GaussianBlur(part, (0, 0), rng.uniform(2, 12))
        return part.astype(np.float32) * rng.uniform(0.5, 1.2)


def _placement(rng: np.random.Generator, scale: float, cut: bool = False) -> np.ndarray:
    """An affine map [2,3] of an extended portrait: turned a little, enlarged about its middle, shifted.

    cut: what lies above it is not known, so its upper edge stays above that of the example.
    """
    spread = 0.15 if scale >= 1 else 0.3
    place = cv2.getRotationMatrix2D((CROP * 1.5, CROP * 0.6), 0 if cut else rng.normal(0, 4), scale)
    place[0, 2] += CROP * (rng.uniform(-spread, spread) - 1)
    if cut:
        place[1, 2] = -CROP * rng.uniform(0, scale - 1)
    else:
        place[1, 2] += CROP * (0.4 * (1 - scale) * rng.uniform(0, 1) + rng.uniform(-0.05, 0.1))
    return place


def _extend(picture: np.ndarray) -> np.ndarray:
    """[S,S,...] -> [2 S,3 S,...]: shoulders and clothes are continued to both sides and below."""
    sides = ((0, CROP), (CROP, CROP), *((0, 0),) * (picture.ndim - 2))
    return np.pad(picture, sides, mode="edge")


def _extend_alpha(alpha: np.ndarray) -> np.ndarray:
    """The same of alpha; what is continued is either there or not."""
    wide = _extend(alpha)
    sure = (wide >= 128) * np.uint8(255)
    sure[:CROP, CROP : 2 * CROP] = alpha
    return sure


def _place(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(picture, place, (CROP, CROP), flags=cv2.INTER_LINEAR)
