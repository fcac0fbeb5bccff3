"""Folders of speech beside lip motion: openings, sound in step, what is missing."""

import shutil

import numpy as np
import pytest

from anitalker.config import InputError
from scripts.evaluation.lips_folder import read_lips
from scripts.evaluation.metrics import pearson


def test_every_clip_of_the_split_is_read_in_step(lips_folder):
    clips = {clip.row["id"]: clip for clip in read_lips(lips_folder, "val")}
    assert list(clips) == ["ann_0", "ann_1", "bob_0", "cleo_0"]
    assert [len(clip.opening) for clip in clips.values()] == [60, 57, 60, 60]  # the end of late sound has no partner
    for name, clip in clips.items():
        assert len(clip.speech) == 640 * len(clip.opening)
        first = 2 if name == "bob_0" else 0  # early sound begins with silence
        levels = np.square(clip.speech.reshape(-1, 640)).mean(1) ** 0.5
        assert pearson(levels[first:], clip.opening[first:]) > 0.9, name
        assert clip.opening.min() >= 0.01 - 1e-3 and clip.opening.max() <= 0.12 + 1e-3
    assert [clip.row["id"] for clip in read_lips(lips_folder, "val", limit=1)] == ["ann_0"]


def test_what_is_missing_is_a_usage_error(lips_folder, tmp_path):
    with pytest.raises(InputError, match="no clip of split 'tune'"):
        list(read_lips(lips_folder, "tune"))
    with pytest.raises(InputError, match=r"no .*manifest\.csv"):
        list(read_lips(tmp_path, "val"))
    shutil.copy(lips_folder / "manifest.csv", tmp_path)
    with pytest.raises(InputError, match=r"no .*lips-0\.npz"):
        list(read_lips(tmp_path, "val"))
    (tmp_path / "manifest.csv").write_text("id,split\na,val\n")
    with pytest.raises(InputError, match="lacks the columns identity, generated, shard"):
        list(read_lips(tmp_path, "val"))
