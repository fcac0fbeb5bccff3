"""The course of a blink."""

from pathlib import Path

import numpy as np
import pytest

from scripts.training.motion_data import MotionClip
from scripts.training.motion_statistics import blink_course


def test_the_course_of_a_blink_is_blink_and_closes_the_eyes():
    """Thirty made-up blinks on one direction that lowers the upper lids: the course begins and ends open."""
    face = np.load(Path(__file__).parents[2] / "canonical_face.npy")
    directions = np.zeros((14, 468, 3), np.float32)
    for upper, lower in ((160, 144), (158, 153), (385, 380), (387, 373)):
        directions[3, upper] = 0.5 * (face[lower] - face[upper])
    course = np.array([0.1, 0.4, 1.0, 0.7, 0.4, 0.2, 0.1], np.float32)
    codes = np.zeros((1500, 20), np.float32)
    for begin in range(20, 1480, 50):
        codes[begin : begin + 7, 9] = course
    eyes = 0.3 - 0.15 * codes[:, 9]
    row = {"id": "blinker", "generated": "no"}
    clip = MotionClip(row, codes, np.ones(1500, bool), np.zeros(1500 * 640, np.float32), 0 * eyes, eyes, face)
    blink = blink_course([clip], directions)
    assert blink.shape == (14, 20) and np.abs(blink[[0, -1]]).max() < 1e-6
    assert blink[5, 9] == pytest.approx(2.0, abs=0.1) == np.abs(blink).max()  # half closed in the labels: twice as far
