"""Backgrounds: what a text asks for, what is refused, and their pixels."""

import itertools

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError
from anitalker.media.backdrop import Backdrop, check_background, checkered, fill, lay_over, parse_background
from anitalker.media.writer import VideoWriter


@pytest.mark.parametrize(
    ("text", "kind", "colour"),
    [
        ("keep", "keep", (0, 0, 0)),
        (" Transparent ", "transparent", (0, 0, 0)),
        ("blur", "blur", (0, 0, 0)),
        ("white", "colour", (255, 255, 255)),
        ("#1e90ff", "colour", (30, 144, 255)),
        ("#0f0", "colour", (0, 255, 0)),
        ("rgb(1, 2, 3)", "colour", (1, 2, 3)),
    ],
)
def test_words_and_colours(text, kind, colour):
    backdrop = parse_background(text)
    assert (backdrop.kind, backdrop.colour) == (kind, colour)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("blurred", "background is 'blurred'; allowed are keep, transparent, blur, a colour such as white"),
        ("", "background is ''; allowed"),
        ("#12345", "background is '#12345'; allowed"),
        ("no/such/beach.jpg", "background is missing: no file 'no/such/beach.jpg'; check the path"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(InputError) as refused:
        check_background(text)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_shows_nothing(tmp_path, clicks):
    (tmp_path / "text.jpg").write_text("hello")
    for file in (tmp_path / "text.jpg", clicks):
        with pytest.raises(InputError, match="background"):
            check_background(str(file))


def test_a_picture_fills_the_frame_from_its_middle(tmp_path):
    picture = np.zeros((64, 200, 3), np.uint8)
    picture[:, 68:132] = (10, 200, 30)
    Image.fromarray(picture).save(tmp_path / "wide.png")
    first, second = itertools.islice(parse_background(str(tmp_path / "wide.png")).frames(64, 64), 2)
    assert first.shape == (64, 64, 3) and np.all(first == (10, 200, 30)) and first is second
    assert fill(picture, 32, 128).shape == (128, 32, 3)


def test_a_video_begins_again(tmp_path):
    levels = (40, 120, 200)
    with VideoWriter(tmp_path / "loop.mp4", 64, 64, quality=0) as writer:
        for level in levels:
            writer.write(np.full((64, 64, 3), level, np.uint8))
    frames = itertools.islice(Backdrop("file", file=tmp_path / "loop.mp4").frames(32, 48), 7)
    means = [frame.mean() for frame in frames if frame.shape == (48, 32, 3)]
    np.testing.assert_allclose(means, [*levels, *levels, levels[0]], atol=2)


def test_where_alpha_is_0_or_255_one_of_both_stays_to_the_bit():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    frame[:10, :, 3], frame[10:20, :, 3], frame[20:, :, 3] = 0, 255, 100
    behind = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    laid = lay_over(frame, behind)
    assert np.array_equal(laid[:10], behind[:10]) and np.array_equal(laid[10:20], frame[10:20, :, :3])
    mixed = (frame[20:, :, :3] * 100.0 + behind[20:] * 155.0) / 255
    assert np.abs(laid[20:] - mixed).max() <= 1


def test_a_checkerboard_shows_what_is_transparent():
    frame = np.zeros((32, 32, 4), np.uint8)
    frame[:, 16:, 3] = 255
    shown = checkered(frame)
    assert set(np.unique(shown[:, :16])) == {204, 255} and not shown[:, 16:].any()
    assert checkered(frame[..., :3]) is not None and checkered(frame[..., :3]).shape == (32, 32, 3)
