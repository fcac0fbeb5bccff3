"""The clips of a data folder as the evaluation reads them, and portraits in the crop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scripts.contact_sheet import evenly
from scripts.training.data import decode_frames, decode_speech, load_clips


@dataclass(frozen=True)
class EvalClip:
    """A clip with labels: manifest row, frames uint8 [T,256,256,3], landmarks [T,468,3], speech [N] at 16 kHz."""

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
        yield EvalClip(clip.row, frames[:count], clip.landmarks[:count], sound)
