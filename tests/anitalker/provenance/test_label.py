"""The visible label: legible words at the lower left, in every language that is offered."""

import numpy as np
import pytest

from anitalker.config import LABEL_LANGUAGES, InputError, RenderOptions
from anitalker.provenance.label import HEIGHT_SHARE, STROKES, TEXTS, Label
from anitalker.provenance.label_icon import LabelIcon
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


@pytest.mark.parametrize(("width", "height"), [(640, 360), (360, 640), (64, 64), (1920, 1080)])
def test_the_icon(width, height):
    """White letters on a darkened box at the upper right; what is outside of it stays; both words differ."""
    frame = np.full((height, width, 3), 100, np.uint8)
    icons = [LabelIcon(width, height, edited)(frame) for edited in (False, True)]
    assert (icons[0] != icons[1]).any() and (frame == 100).all()
    for icon in icons:
        rows, columns = (np.flatnonzero((icon != 100).any((axis, 2))) for axis in (1, 0))
        assert columns[0] > width / 2 and rows[-1] < height / 2
        assert HEIGHT_SHARE * min(width, height) < np.ptp(rows) + 1 <= max(25, 0.15 * min(width, height))
        assert icon.max() > 240 and icon.min() == 40


def test_the_letters_of_the_icon_are_large():
    """AI stands out: its capitals are higher than the 5% that the label of words has."""
    frame = np.full((1080, 1080, 3), 100, np.uint8)
    white = LabelIcon(1080, 1080)(frame).min(-1) > 200
    rows = np.flatnonzero(white.any(1))
    gap = rows[np.flatnonzero(np.diff(rows) > 3)[0]]
    assert gap - rows[0] > HEIGHT_SHARE * 1080


def test_the_opening_alone():
    frame = np.full((360, 640, 3), 100, np.uint8)
    (label,) = frame_filters(640, 360, True, False, labelled_frames=2.5)
    assert [bool((label(frame) != frame).any()) for _ in range(5)] == [True, True, True, False, False]


def test_the_label_in_words():
    assert RenderOptions().visible_label == ""
    assert RenderOptions(label=True, label_language="zh").visible_label == "zh"
    assert RenderOptions(label=True, label_style="icon", label_seconds=5).visible_label == "icon for 5 s"
    with pytest.raises(InputError, match=r"label_seconds is 0; allowed is 0.04 or more seconds"):
        RenderOptions(label_seconds=0)
