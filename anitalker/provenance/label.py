"""The visible label: the words `AI-generated` in the corner of every frame."""

from __future__ import annotations

import numpy as np

TEXT = "AI-generated"
HEIGHT_SHARE = 0.05  # height of the letters over the short side of the frame, as China's labelling standard asks


class Label:
    """Draws the words at the lower left of frames, uint8 [height,width,3]."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw, ImageFont

        size = max(9, round(HEIGHT_SHARE * min(width, height) / 0.72))  # capitals are 0.72 of the nominal size
        font = ImageFont.load_default(size)
        left, top, right, bottom = map(int, font.getbbox(TEXT))
        edge = size // 3
        box = Image.new("L", (right - left + 2 * edge, bottom - top + 2 * edge), 0)
        ImageDraw.Draw(box).text((edge - left, edge - top), TEXT, 255, font)
        letters = np.asarray(box, np.float32)[-height:, :width, None] / 255
        # White letters on the darkened picture are legible on any picture.
        self._under, self._letters = 0.45 * (1 - letters), 255 * letters

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the labelled frame, a new array."""
        labelled = frame.copy()
        height, width = self._letters.shape[:2]
        corner = labelled[-height:, :width]
        corner[:] = corner * self._under + self._letters
        return labelled
