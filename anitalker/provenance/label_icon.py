"""The visible label as a mark: a large AI over the word GENERATED or MODIFIED, in the upper right corner.

The Code of Practice to Article 50 of the EU's AI Act has icons of its own, which anybody may use; equivalent labels may
be drawn in their place where the capitals AI stand out. This one is drawn here, from Pillow's font.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

WORDS = {False: "GENERATED", True: "MODIFIED"}  # by whether something filmed was edited
HEIGHT_SHARE = 0.14  # of the mark over the short side of the frame
MARGIN_SHARE = 0.03  # distance from the edges
DARKNESS = 0.6  # of the box under the letters
OVERSAMPLING = 4  # of the drawing, whose edges are smoothed by it


class LabelIcon:
    """Draws the mark onto frames, uint8 [height,width,3]. edited: whether the video was filmed and changed."""

    def __init__(self, width: int, height: int, edited: bool = False) -> None:
        short = min(width, height)
        box, letters = _draw(max(18, round(HEIGHT_SHARE * short)), WORDS[edited])
        margin = round(MARGIN_SHARE * short)
        high, wide = box.shape
        self._place = slice(margin, margin + high), slice(max(0, width - margin - wide), width - margin)
        self._under = (1 - DARKNESS * box[..., None]) * (1 - letters[..., None])
        self._letters = 255 * letters[..., None]

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the labelled frame, a new array."""
        labelled = frame.copy()
        corner = labelled[self._place]
        high, wide = corner.shape[:2]
        corner[:] = (corner * self._under[:high, -wide:] + self._letters[:high, -wide:]).round()
        corner[..., 3:] = 255  # a label is never transparent
        return labelled


def _draw(height: int, word: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw the box and the letters of a mark, float32 [height,W] of 0 to 1 each."""
    from PIL import Image, ImageDraw

    scale = height * OVERSAMPLING
    large, small = _letters("AI", round(0.52 * scale), 0.035), _letters(word, round(0.15 * scale), 0.02)
    edge = round(0.12 * scale)
    width = max(large.width, small.width) + 2 * edge
    box, letters = Image.new("L", (width, scale), 0), Image.new("L", (width, scale), 0)
    ImageDraw.Draw(box).rounded_rectangle((0, 0, width - 1, scale - 1), round(0.14 * scale), 255)
    letters.paste(large, ((width - large.width) // 2, edge))
    letters.paste(small, ((width - small.width) // 2, scale - edge - small.height))
    size = (max(1, round(width / OVERSAMPLING)), height)
    shares = [np.asarray(layer.resize(size, Image.Resampling.BOX), np.float32) / 255 for layer in (box, letters)]
    return shares[0], shares[1]


def _letters(text: str, capital: int, stroke: float) -> Image.Image:
    """Draw capitals of `capital` pixels height in white on black, made bolder by `stroke` times that; cropped."""
    from PIL import Image, ImageDraw, ImageFont

    font, bold = ImageFont.load_default(capital / 0.72), max(1, round(stroke * capital))
    left, top, right, bottom = map(int, font.getbbox(text, stroke_width=bold))
    picture = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(picture).text((-left, -top), text, 255, font, stroke_width=bold)
    return picture
