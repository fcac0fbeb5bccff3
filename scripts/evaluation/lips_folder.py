"""Clips of a folder of lip motion (scripts/training/lips_folder.py) as the evaluation needs them: in step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.audio import SAMPLES_PER_FRAME
from scripts.evaluation.av_offsets import align_speech, av_offset
from scripts.training.lip_loss import LOWER, UPPER
from scripts.training.lips_folder import read_lip_motion


@dataclass(frozen=True)
class LipClip:
    """Manifest row; speech [N] at 16 kHz in step with the lips; lip opening [T] over face height, as far as there is
    sound."""

    row: dict
    speech: np.ndarray
    opening: np.ndarray


def read_lips(folder: str | Path, split: str, limit: int | None = None) -> Iterator[LipClip]:
    """The clips of a split, shard by shard. InputError where the folder or the split is not there."""
    for clip in read_lip_motion(folder, (split,), limit):
        upper, lower = np.moveaxis(clip.at(UPPER, LOWER), 1, 0)
        opening = np.linalg.norm((lower - upper)[:, :2], axis=1)  # in the plane of the face
        speech = align_speech(clip.sound, len(opening), av_offset(clip.row))
        yield LipClip(clip.row, speech, opening[: len(speech) // SAMPLES_PER_FRAME])
