"""Video and speech of different lengths: which frame is shown when, and what is said of it."""

from fractions import Fraction

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.media.fit import FITS, playback, playback_note


@pytest.mark.parametrize(
    ("fit", "frames", "spoken", "indices"),
    [
        ("trim", 5, 3, [0, 1, 2]),
        ("trim", 3, 5, [0, 1, 2]),
        ("loop", 3, 8, [0, 1, 2, 1, 0, 1, 2, 1]),
        ("loop", 2, 5, [0, 1, 0, 1, 0]),
        ("loop", 1, 3, [0, 0, 0]),
        ("loop", 3, 2, [0, 1, 2]),
        ("hold", 3, 5, [0, 1, 2, 2, 2]),
        ("hold", 3, 2, [0, 1, 2]),
        ("speed", 4, 8, [0, 0, 1, 1, 2, 2, 3, 3]),
        ("speed", 8, 4, [1, 3, 5, 7]),
        ("speed", 4, 4, [0, 1, 2, 3]),
    ],
)
def test_which_frame_is_shown(fit, frames, spoken, indices):
    assert playback(fit, frames, Fraction(25), spoken / 25).tolist() == indices


def test_every_fit_can_be_read_by_the_clip():
    """Each index is the last one, one before it, or one that follows; a part of a frame of speech is a frame."""
    for fit in FITS:
        for spoken in (2.01, 3.0, 5.99):
            indices = playback(fit, 100, Fraction(30000, 1001), spoken)
            assert indices.min() == 0 and indices.max() <= 99 and np.diff(indices).min() >= -1, fit
            expected = np.ceil(spoken * 30000 / 1001)
            assert len(indices) == {"trim": min(100, expected), "speed": expected}.get(fit, max(100, expected))


@pytest.mark.parametrize(("frames", "factor"), [(75, "3.00"), (10, "0.40")])
def test_a_video_is_not_played_at_any_speed(frames, factor):
    words = f"fit speed would play the video {factor} times as fast; allowed are 0.5 to 2 times; take --fit"
    with pytest.raises(InputError, match=words):
        playback("speed", frames, Fraction(25), 1.0)


def test_another_fit():
    with pytest.raises(InputError, match="fit is 'cut'; allowed are trim, loop, hold, speed"):
        playback("cut", 25, Fraction(25), 1.0)


@pytest.mark.parametrize(
    ("fit", "seconds", "words"),
    [
        ("trim", 1, "the rest of the video is cut off; --fit loop or hold keeps it"),
        ("trim", 3, "the rest of the speech is cut off; --fit loop, hold or speed keeps it"),
        ("loop", 3, "the video plays forwards and backwards"),
        ("hold", 3, "the video holds its last frame"),
        ("loop", 1, "it is silent at the end"),
        ("speed", 1, "the video plays 2.00 times as fast"),
    ],
)
def test_what_is_said(fit, seconds, words):
    assert playback_note(fit, 50, Fraction(25), seconds) == f"the video has 2.0 s, the speech {seconds}.0 s: {words}"
    assert playback_note(fit, 50, Fraction(25), 2.03) is None
