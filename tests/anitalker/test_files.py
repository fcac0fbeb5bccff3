"""Files that we write appear whole, with the permissions of any new file; what is in the way is told with a remedy."""

import os
import stat
import sys

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from anitalker.files import check_output, write_whole
from anitalker.media.writer import VideoWriter
from anitalker.motion.motion_files import read_motion_file, write_motion_file
from anitalker.weights import tensor_io


def write_codes(path):
    write_motion_file(path, np.zeros((3, 20), np.float32), np.zeros(64, np.float32))


def write_weights(path):
    tensor_io.write(path, {}, {"a": torch.zeros(3)})


def write_video(path):
    with VideoWriter(path, 64, 64) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
@pytest.mark.parametrize(
    ("write", "name"), [(write_codes, "x.safetensors"), (write_weights, "x.safetensors"), (write_video, "x.mp4")]
)
def test_permissions_are_those_of_any_new_file(tmp_path, write, name, mask):
    """`encode` and `models convert` made files that only their owner could read."""
    before = os.umask(mask)
    try:
        write(tmp_path / name)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "x").write_text("older")

    def fail(path):
        path.write_text("half")
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        write_whole(tmp_path / "x", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_text() == "older"
    write_codes(tmp_path / "x")
    assert read_motion_file(tmp_path / "x").shape == (3, 20)


def test_a_missing_folder_is_told_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputError, match=r"output folder is missing: .*; make it with `mkdir -p .*/new'`$"):
        check_output(tmp_path / "a b" / "new" / "x.mp4")
