"""Videos that another system made, one per clip, in place of rendering: the same table for everybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from anitalker.config import CROP, InputError
from anitalker.media.video import read_frames
from scripts.evaluation.clips import EvalClip

SLACK = 2  # frames that a video may have too few or too many


class ExternalVideos:
    """`videos(clip)` -> uint8 [T,256,256,3] of ID.mp4 in a folder, T as in the clip.

    Frame n belongs to frame n of the clip; pictures are square and show the same crop as the data.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"outputs is {folder!r}, which is no folder; give one with ID.mp4 for the clips' ids")
        self.missing: list[str] = []

    def has(self, row: dict) -> bool:
        """Whether there is a video for a manifest row; what is missing is remembered."""
        exists = (self.folder / f"{row['id']}.mp4").is_file()
        if not exists and row["id"] not in self.missing:
            self.missing.append(row["id"])
        return exists

    def __call__(self, clip: EvalClip) -> np.ndarray:
        path, count = self.folder / f"{clip.row['id']}.mp4", len(clip.frames)
        frames = [to_crop(frame, path) for frame in read_frames(path)]
        if abs(len(frames) - count) > SLACK:
            raise InputError(
                f"{path} has {len(frames)} frames at 25 per second, its clip {count}; frame n must belong to frame n"
            )
        frames += [frames[-1]] * (count - len(frames))
        return np.stack(frames[:count])


def to_crop(frame: np.ndarray, path: Path) -> np.ndarray:
    """A square frame of any size, uint8 [S,S,3] -> [256,256,3]."""
    height, width = frame.shape[:2]
    if height != width:
        raise InputError(f"{path} is {width}x{height}; allowed are square videos of the same crop as the data's")
    if height == CROP:
        return np.array(frame)
    return np.asarray(Image.fromarray(frame).resize((CROP, CROP), Image.Resampling.LANCZOS))
