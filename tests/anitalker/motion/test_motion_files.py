"""Pose files and motion codes on disk."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from anitalker.config import InputError
from anitalker.motion.motion_files import read_motion_file, read_pose, write_motion_file


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_poses_of_any_number_type(tmp_path, kind):
    np.save(tmp_path / "pose.npy", np.array([[1, -2, 3], [10, 20, -30]], kind))
    pose = read_pose(tmp_path / "pose.npy")
    assert pose.dtype == np.float32
    np.testing.assert_array_equal(pose, [[1, -2, 3], [10, 20, -30]])


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (np.zeros((0, 3)), r"\[T,3\]"),
        (np.zeros((4, 2)), r"\[T,3\]"),
        (np.zeros((4, 3), complex), "real numbers"),
        (np.full((4, 3), np.inf), "frame 0"),
        (np.full((4, 3), 90.0), "-60 to 60"),
    ],
)
def test_other_arrays_are_refused(tmp_path, pose, words):
    np.save(tmp_path / "pose.npy", pose)
    with pytest.raises(InputError, match=words):
        read_pose(tmp_path / "pose.npy")


def test_an_archive_is_no_pose(tmp_path):
    np.savez(tmp_path / "pose.npz", a=np.zeros((2, 3)))
    with pytest.raises(InputError, match="several arrays"):
        read_pose(tmp_path / "pose.npz")


def test_codes_come_back(tmp_path):
    motion, identity = np.random.rand(7, 20).astype(np.float32), np.ones(64, np.float32)
    write_motion_file(tmp_path / "m.safetensors", motion, identity)
    codes = load_file(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(codes["motion"], motion)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    np.testing.assert_array_equal(read_motion_file(tmp_path / "m.safetensors"), motion)


def test_files_without_motion_are_refused(tmp_path):
    save_file({"motion": np.zeros((3, 6), np.float32)}, tmp_path / "narrow.safetensors")
    (tmp_path / "other.safetensors").write_text("no tensors")
    for name in ("narrow", "other"):
        with pytest.raises(InputError, match=r"no motion \[T,20\]; make one with `anitalker encode`"):
            read_motion_file(tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match="motion file"):
        read_motion_file(tmp_path / "none.safetensors")
