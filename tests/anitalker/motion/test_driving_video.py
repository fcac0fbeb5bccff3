"""Driving videos: the crop is fixed, batches do not matter, codes are smoothed, no frame is lost."""

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from anitalker.motion import driving_video


def read_level(pictures):
    """A model that reads the mean level of a picture, in -1..1."""
    level = pictures.float().mean((1, 2, 3))[:, None] / 127.5 - 1
    return level.expand(-1, 20), torch.ones(len(pictures), 64)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 33])
def test_every_frame_is_read(count):
    pictures = [np.full((256, 256, 3), 100 + n, np.uint8) for n in range(count)]
    steps = []
    motion, identity = driving_video.read_codes(
        read_level, pictures, count, lambda *step: steps.append(step), driving_video.DRIVING_FILTER
    )
    assert motion.shape == (count, 20) and steps[-1] == ("encode", count, count)
    assert (np.diff(motion[:, 0]) > 0).all()
    assert abs(np.linalg.norm(identity) - 1) < 1e-6


def test_codes_are_smoothed():
    """A code that flickers by one level comes out with less flicker."""
    pictures = [np.full((256, 256, 3), 100 + n % 2, np.uint8) for n in range(40)]
    motion, _ = driving_video.read_codes(read_level, pictures, 40, smoothing=driving_video.DRIVING_FILTER)
    assert motion[20:, 0].std() < 0.5 * (0.5 / 127.5)
    as_read, _ = driving_video.read_codes(read_level, pictures, 40)
    assert as_read[20:, 0].std() == pytest.approx(0.5 / 127.5, rel=1e-4)


def test_the_crop_stays(fixed_finder):
    """The second frame is cropped where the face of the first frame was."""
    first = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    finder = fixed_finder()
    first_crop, second_crop = driving_video.crop_frames([first, np.zeros_like(first)], finder, "largest")
    assert first_crop.shape == second_crop.shape == (256, 256, 3)
    assert first_crop.any() and not second_crop.any()


def test_no_face(fixed_finder):
    with pytest.raises(InputError, match="no face"):
        next(driving_video.crop_frames([np.zeros((200, 300, 3), np.uint8)], fixed_finder(), "largest"))
