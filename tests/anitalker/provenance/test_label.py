"""The visible label: legible words at the lower left, in every language that is offered."""

import numpy as np
import pytest

from anitalker.config import LABEL_LANGUAGES, InputError, RenderOptions
from anitalker.provenance.label import HEIGHT_SHARE, STROKES, TEXTS, Label
from anitalker.provenance.marks import frame_filters


def drawn(language, width=640, height=360):
    """Where the label is white on a grey frame."""
    frame = np.full((height, width, 3), 100, np.uint8)
    return Label(width, height, language)(frame).min(-1) > 180


def test_every_language_has_its_words():
    assert tuple(TEXTS) == LABEL_LANGUAGES
    assert len({drawn(language).tobytes() for language in TEXTS}) == len(TEXTS)
    with pytest.raises(InputError, match="label_language is 'xx'; allowed are en, zh"):
        RenderOptions(label_language="xx")


@pytest.mark.parametrize("language", TEXTS)
def test_letters_are_as_high_as_the_rule_asks(language):
    """At least 5% of the short side, at the lower left, and nothing is cut off."""
    white = drawn(language)
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    assert rows[-1] - rows[0] + 1 >= HEIGHT_SHARE * 360
    assert rows[0] > 300 and 0 < columns[0] < 20 and columns[-1] < 400


def test_chinese_is_drawn_by_strokes():
    """No boxes of a font that lacks the characters: the two differ, and each has strokes across its square."""
    white = drawn("zh", 1920, 1080)
    columns = np.flatnonzero(white.any(0))
    half = white[:, columns[0] : columns[-1] + 1]
    side = np.ptp(np.flatnonzero(half.any(1))) + 1
    last, before = half[:, -side:], half[:, -2 * side - side // 10 : -side - side // 10]
    assert 0.15 < last.sum() / side**2 < 0.6 and 0.15 < before.sum() / side**2 < 0.6
    assert (last[:, : before.shape[1]] != before[:, : last.shape[1]]).mean() > 0.01


def test_no_letter_is_missing_in_the_font():
    """Missing ones would be drawn as the same empty box."""
    from PIL import ImageFont

    font = ImageFont.load_default(40)
    missing = bytes(font.getmask("\uffff"))
    letters = {letter for text in TEXTS.values() for letter in text if letter not in STROKES and letter != " "}
    assert len(letters) > 20 and not [letter for letter in letters if bytes(font.getmask(letter)) == missing]


def test_narrow_frames():
    """The words shrink instead of being cut."""
    white = drawn("pl", 100, 400)
    assert white.any() and 80 < np.flatnonzero(white.any(0))[-1] < 99


def test_filters_take_the_language():
    frame = np.full((360, 640, 3), 100, np.uint8)
    (label,) = frame_filters(640, 360, True, False, language="zh")
    assert ((label(frame).min(-1) > 180) == drawn("zh")).all()
