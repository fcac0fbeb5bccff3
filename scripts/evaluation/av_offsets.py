"""How late a clip's sound is against its pictures, in frames of 1/25 s: from the manifest, else from the table here.

Late sound is shifted back, so that speech and lips are in step; a negative offset is early sound.
"""

from __future__ import annotations

import numpy as np

from anitalker.config import InputError
from encoders.audio import SAMPLES_PER_FRAME

# Clips whose manifest leaves `av_offset_frames` empty and whose sound is late, by their ids. Measured by
# `python -m scripts.study av_offsets --data DIR --lips FOLDER`, which says how.
ESTIMATED = {
    "sadtalker_wda-katiehill-000_1e295_t01": 3,
    "smirk_dafoe_d6ad6_t01": 5,
}


def av_offset(row: dict) -> int:
    """Frames by which the sound of a manifest row is late; 0 where nobody knows. InputError for what is no number."""
    stated = row.get("av_offset_frames") or ""
    if not stated:
        return ESTIMATED.get(row["id"], 0)
    try:
        return int(stated)
    except ValueError:
        message = f"av_offset_frames of {row['id']} is {stated!r}; allowed are whole frames, or nothing"
        raise InputError(f"{message}; correct the manifest") from None


def shift_back(values: np.ndarray, count: int, mode: str = "constant") -> np.ndarray:
    """Bring what comes `count` entries late forward along the first axis: they are dropped. Negative: entries are put
    in front, zeros or, with mode "edge", the first one again."""
    if count >= 0:
        return values[count:]
    before = [(-count, 0)] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, before, mode="edge" if mode == "edge" else "constant")


def align_speech(speech: np.ndarray, frames: int, offset: int) -> np.ndarray:
    """Speech [N] at 16 kHz of so many frames, late by `offset` frames -> speech in step, at most 640 `frames` samples.

    Late sound leaves the last frames without sound; early sound begins with silence.
    """
    size = frames * SAMPLES_PER_FRAME
    return shift_back(speech[:size], offset * SAMPLES_PER_FRAME)[:size] if len(speech) else speech
