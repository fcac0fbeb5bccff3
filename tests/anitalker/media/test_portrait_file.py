"""A video as a portrait: which frame is taken, and that it stands still."""

from types import SimpleNamespace

import numpy as np
import pytest

from anitalker.media.portrait_file import FRAME_STEP, find_portrait
from anitalker.media.writer import VideoWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Black frames up to the third that is searched, then noise, in which the finder finds a face."""
    path, noise = tmp_path_factory.mktemp("clip") / "clip.mp4", np.random.default_rng(0).integers(0, 255, (64, 64, 3))
    with VideoWriter(path, 64, 64) as writer:
        for number in range(2 * FRAME_STEP + 3):
            writer.write((noise * (number > FRAME_STEP)).astype(np.uint8))
    return path


def test_a_video_stands_still(clip, fixed_finder, caplog):
    pixels, faces = find_portrait(clip, fixed_finder())
    assert len(faces) == 1 and pixels.std() > 10
    (record,) = caplog.records
    assert (
        record.getMessage()
        == "the portrait is a video: its frame at 1.0 s stands still; `anitalker dub` keeps it moving"
    )


def test_nothing_is_said_of_a_picture_or_where_nothing_will_move(clip, example_portrait, fixed_finder, caplog):
    find_portrait(example_portrait, fixed_finder())
    find_portrait(clip, fixed_finder(), "picture")
    find_portrait(clip, SimpleNamespace(find=lambda pixels: []))
    assert not caplog.records
