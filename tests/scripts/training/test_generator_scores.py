"""Late sound: what is found of it, and what it does to a clip."""

from dataclasses import replace

import pytest

from scripts.training.generator_scores import apply_sync
from scripts.training.motion_data import load_motion


@pytest.fixture
def clips(motion_folder):
    return load_motion(motion_folder, "train")


def test_sound_that_fits_nowhere_teaches_no_speech(clips):
    clip = replace(clips[0])
    apply_sync({"one": (1.0, 0.1)}, [clip])
    assert clip.unrelated and not clip.speaks and len(clip.codes) == 160
