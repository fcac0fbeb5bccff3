"""Motion on disk: a user's head poses (.npy) and the motion codes of a video (.safetensors)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from anitalker.config import FPS, InputError
from anitalker.files import existing_file, write_whole

MAX_ANGLE = 60  # degrees
MOTION_SIZE = 20  # numbers per frame


def read_pose(path: str | os.PathLike) -> np.ndarray:
    """Yaw, pitch, roll in degrees per frame, float32 [T,3], T >= 1; InputError for anything else."""
    file = existing_file(path, "pose file")
    try:
        pose = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise InputError(f"pose file {str(file)!r} is no .npy of numbers; save a [T,3] array with numpy.save") from None
    if not isinstance(pose, np.ndarray) or pose.ndim != 2 or pose.shape[1] != 3 or not len(pose):
        shape = list(getattr(pose, "shape", ["several arrays"]))
        raise InputError(f"pose file {str(file)!r} is {shape}; allowed is [T,3]: yaw, pitch, roll in degrees per frame")
    if pose.dtype.kind not in "fiu":
        raise InputError(f"pose file {str(file)!r} holds {pose.dtype}; allowed are real numbers, in degrees")
    if not np.isfinite(pose).all():
        frame = int(np.flatnonzero(~np.isfinite(pose).all(1))[0])
        raise InputError(f"pose file {str(file)!r} has NaN or infinity in frame {frame}; give numbers, in degrees")
    if np.abs(pose).max() > MAX_ANGLE:
        largest = np.abs(pose).max()
        raise InputError(f"pose file {str(file)!r} goes to {largest:g}; allowed is {-MAX_ANGLE} to {MAX_ANGLE} degrees")
    return pose.astype(np.float32)


def read_motion_file(path: str | os.PathLike) -> np.ndarray:
    """Motion codes float32 [T,20], T >= 1, of a file by `anitalker encode`; InputError for anything else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = existing_file(path, "motion file")
    try:
        motion = load_file(file).get("motion")
    except (SafetensorError, OSError, ValueError, TypeError):
        motion = None
    if (
        motion is None
        or motion.ndim != 2
        or motion.shape[1] != MOTION_SIZE
        or not len(motion)
        or motion.dtype.kind != "f"
    ):
        raise InputError(f"motion file {str(file)!r} has no motion [T,{MOTION_SIZE}]; make one with `anitalker encode`")
    if not np.isfinite(motion).all():
        frame = int(np.flatnonzero(~np.isfinite(motion).all(1))[0])
        raise InputError(f"motion file {str(file)!r} has NaN or infinity in frame {frame}; make it again")
    return motion.astype(np.float32)


def write_motion_file(path: Path, motion: np.ndarray, identity: np.ndarray) -> None:
    """Write motion [T,20] and identity [64] as safetensors. The file appears whole or not at all."""
    from safetensors.numpy import save_file

    codes = {"motion": motion, "identity": identity}
    write_whole(path, lambda partial: save_file(codes, partial, {"fps": str(FPS)}))
