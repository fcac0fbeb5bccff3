"""The visible label: words such as `AI-generated` in the corner of every frame, in a language of choice.

Latin letters come from Pillow's own font. The Chinese label is `AI生成`; its two characters are drawn here as strokes,
because no font for them can be relied upon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import RenderOptions

if TYPE_CHECKING:
    from PIL import Image

TEXTS = {  # in letters that Pillow's font has: no accents
    "en": "AI-generated",
    "zh": "AI生成",
    "de": "KI-generiert",
    "es": "Generado por IA",
    "fr": "Produit par IA",
    "it": "Generato dall’IA",
    "nl": "AI-gegenereerd",
    "pl": "Wygenerowane przez SI",
    "pt": "Gerado por IA",
    "sv": "AI-genererad",
}
HEIGHT_SHARE = 0.05  # height of the letters over the short side of the frame, as China's labelling standard asks
CAPITAL_SHARE = 0.72  # height of capitals over the nominal size of the font
# Strokes of characters as points (x, y) in a square of 100 x 100, in the order in which they are written.
STROKES = {
    "生": [
        [(28, 6), (22, 26), (8, 44)],
        [(20, 26), (88, 26)],
        [(20, 56), (82, 56)],
        [(51, 4), (51, 92)],
        [(6, 92), (96, 92)],
    ],
    "成": [
        [(18, 24), (92, 24)],
        [(18, 24), (17, 62), (5, 95)],
        [(18, 48), (44, 48), (42, 80), (30, 76)],
        [(56, 4), (60, 48), (74, 82), (88, 95), (94, 72)],
        [(82, 42), (66, 72), (42, 95)],
        [(70, 6), (84, 16)],
    ],
}
STROKE_WIDTH = 0.11  # of a character's side
OVERSAMPLING = 4  # of strokes, which are drawn without smoothing


class Label:
    """Draws the words at the lower left of frames, uint8 [height,width,3 or 4].

    language: one of TEXTS. The words shrink where the frame is too narrow for them.
    """

    def __init__(self, width: int, height: int, language: str = RenderOptions.label_language) -> None:
        words = _draw_words(TEXTS[language], max(9, round(HEIGHT_SHARE * min(width, height) / CAPITAL_SHARE)))
        if words.width > width:
            words = words.resize((width, max(1, round(words.height * width / words.width))))
        letters = np.asarray(words, np.float32)[-height:, :, None] / 255
        # White letters on the darkened picture are legible on any picture.
        self._under, self._letters = 0.45 * (1 - letters), 255 * letters

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the labelled frame, a new array."""
        labelled = frame.copy()
        height, width = self._letters.shape[:2]
        corner = labelled[-height:, :width]
        corner[:] = corner * self._under + self._letters
        labelled[-height:, :width, 3:] = 255  # a label is never transparent
        return labelled


def _draw_words(text: str, size: int) -> Image.Image:
    """Draw words in white on a black box, mode L, with a margin."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    latin, drawn = "".join(letter for letter in text if letter not in STROKES), [c for c in text if c in STROKES]
    left, top, right, bottom = map(int, font.getbbox(latin))
    edge, side, gap = size // 3, bottom - top, max(1, size // 10)
    words = Image.new("L", (right - left + len(drawn) * (side + gap) + 2 * edge, side + 2 * edge), 0)
    ImageDraw.Draw(words).text((edge - left, edge - top), latin, 255, font)
    for number, character in enumerate(drawn):
        words.paste(_draw_strokes(character, side), (edge + right - left + gap + number * (side + gap), edge))
    return words


def _draw_strokes(character: str, side: int) -> Image.Image:
    """Draw one of STROKES in white on black, mode L, of side x side pixels."""
    from PIL import Image, ImageDraw

    large = side * OVERSAMPLING
    picture = Image.new("L", (large, large), 0)
    for stroke in STROKES[character]:
        points = [(x * large / 100, y * large / 100) for x, y in stroke]
        ImageDraw.Draw(picture).line(points, 255, max(1, round(STROKE_WIDTH * large)), "curve")
    return picture.resize((side, side), Image.Resampling.BOX)
