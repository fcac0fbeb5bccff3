"""The clips of a data folder as the evaluation reads them, portraits in the crop, and other systems' videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from anitalker.config import CROP, FPS, SAMPLE_RATE, InputError
from anitalker.media.video import read_frames
from scripts.contact_sheet import evenly
from scripts.evaluation.av_offsets import align_speech, av_offset
from scripts.training.data import decode_frames, decode_speech, load_clips

SLACK = 2  # frames that another system's video may have too few or too many


@dataclass(frozen=True)
class EvalClip:
    """A clip with labels: manifest row, frames uint8 [T,256,256,3], landmarks [T,468,3], speech [N] at 16 kHz in step
    with the frames."""

    row: dict
    frames: np.ndarray
    landmarks: np.ndarray
    speech: np.ndarray

    def spread(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At most `count` moments, evenly: frame numbers [n], frames and landmarks."""
        numbers = np.array(evenly(len(self.frames), count))
        return numbers, self.frames[numbers], self.landmarks[numbers]


@dataclass(frozen=True)
class Source:
    """A portrait in the crop: image uint8 [256,256,3], landmarks [468,3] as the model finds them, motion code [20]."""

    image: np.ndarray
    landmarks: np.ndarray
    motion: np.ndarray


def read_clips(data: str, split: str, limit: int | None, speech: bool) -> Iterator[EvalClip]:
    """The clips of a split in the manifest's shard order, decoded one at a time; without `speech` there is no sound."""
    for number, clip in enumerate(load_clips(data, (split,))):
        if limit is not None and number >= limit:
            return
        frames = decode_frames(clip.mp4).copy()  # writable, as torch wants it
        count = min(len(frames), len(clip.landmarks))
        sound = decode_speech(clip.mp4) if speech and clip.row["has_audio"] == "yes" else np.zeros(0, np.float32)
        sound = align_speech(sound, count, av_offset(clip.row))
        yield EvalClip(clip.row, frames[:count], clip.landmarks[:count], sound)


def cut_to_sound(clip: EvalClip) -> EvalClip:
    """The frames of a clip that its sound reaches: a recording may end a little before its pictures."""
    count = min(len(clip.frames), -(-len(clip.speech) * FPS // SAMPLE_RATE))
    return replace(clip, frames=clip.frames[:count], landmarks=clip.landmarks[:count])


def first_frames(clip: EvalClip, count: int) -> EvalClip:
    """The beginning of a clip, its sound in step."""
    return replace(
        clip,
        frames=clip.frames[:count],
        landmarks=clip.landmarks[:count],
        speech=clip.speech[: count * SAMPLE_RATE // FPS],
    )


class ExternalVideos:
    """`videos(clip)` -> uint8 [T,256,256,3] of ID.mp4 in a folder, T as in the clip: square, the same crop as the data.

    missing: ids of the manifest that have no video.
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
        return np.stack((frames + [frames[-1]] * SLACK)[:count])


def to_crop(frame: np.ndarray, path: Path) -> np.ndarray:
    """A square frame of any size, uint8 [S,S,3] -> [256,256,3]."""
    height, width = frame.shape[:2]
    if height != width:
        raise InputError(f"{path} is {width}x{height}; allowed are square videos of the same crop as the data's")
    if height == CROP:
        return np.array(frame)
    return np.asarray(Image.fromarray(frame).resize((CROP, CROP), Image.Resampling.LANCZOS))
