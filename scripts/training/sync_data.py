"""Speech beside mouth shapes, for the sync judge: read once into a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from anitalker.config import InputError
from encoders import audio
from encoders.audio import MEL_PER_FRAME, SAMPLES_PER_FRAME
from encoders.speech import SpeechFeatures
from scripts.evaluation.sync_judge import MOUTH, mouth_shapes
from scripts.extract_features import is_usable
from scripts.training.data import decode_speech, load_clips
from scripts.training.lips_folder import read_lip_motion
from scripts.training.loop import write_whole

STORED = ("shapes", "log_mel", "pitch")


@dataclass(frozen=True)
class SyncClip:
    """One clip: manifest row; shapes float32 [T,P,2] of the mouth in face heights; log_mel [4T,M]; pitch [T,2]."""

    row: dict
    shapes: Tensor
    log_mel: Tensor
    pitch: Tensor

    @property
    def offset(self) -> int | None:
        """Frames by which the sound is late, by the manifest; None if it is not known.

        A manifest without that column describes clips in sync, and so do the rows of the GRID corpus.
        """
        text = self.row.get("av_offset_frames", "0")
        if not text and self.row["shard"].startswith("grid"):
            return 0
        return int(text) if text else None

    @property
    def filmed(self) -> bool:
        """Whether a person was filmed; else another system made the clip."""
        return self.row["generated"] == "no"


def load_sync_clips(
    data_dir: str | Path, lips_dir: str | Path | None, split: str, canonical: Tensor
) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """(row, mouth shapes float32 [T,P,2], sound float32 [N] at 16 kHz as it was recorded) of the clips of a split.

    Those of a folder of lip motion (scripts.training.lips_folder) if there is one, and those of the data folder whose
    speaker is seen and heard. A clip that stands in both is read once; of train, licences must allow its use.
    """
    known = set()
    for clip in read_lip_motion(lips_dir, (split,)) if lips_dir else ():
        known.add(clip.row["id"])
        if is_usable(clip.row):
            yield clip.row, clip.at(*MOUTH)[..., :2], clip.sound
    for clip in load_clips(data_dir, (split,)):
        speaks = clip.row["has_audio"] == "yes" and clip.row["speaking_visible"] == "yes"
        if speaks and clip.good.all() and clip.row["id"] not in known and is_usable(clip.row):
            yield clip.row, mouth_shapes(clip.landmarks, canonical).numpy(), decode_speech(clip.mp4)


def prepare(
    data_dir: str | Path, lips_dir: str | Path | None, cache_dir: str | Path, split: str, canonical: Tensor
) -> list[SyncClip]:
    """`load_sync_clips` with log-mel and pitch of the sound at `audio.SPEECH_LEVEL`; read once into a file."""
    path = Path(cache_dir) / f"sync-{split}.safetensors"
    if not path.is_file():
        features, rows, columns = SpeechFeatures(), [], []
        for row, shapes, sound in load_sync_clips(data_dir, lips_dir, split, canonical):
            samples = len(shapes) * SAMPLES_PER_FRAME
            sound = audio.normalise_level(torch.from_numpy(np.pad(sound[:samples], (0, max(0, samples - len(sound))))))
            rows.append(row | {"frames": len(shapes)})
            columns.append((torch.from_numpy(shapes), features.log_mel(sound[None])[0], features.pitch(sound[None])[0]))
        if not rows:
            raise InputError(f"{data_dir} has no clips of split {split!r} whose speaker is seen and heard")
        tensors = {
            name: torch.cat(parts).half() for name, parts in zip(STORED, zip(*columns, strict=True), strict=True)
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda partial: save_file(tensors, partial, {"rows": json.dumps(rows)}))
    return _read(path)


def _read(path: Path) -> list[SyncClip]:
    with safe_open(path, "pt") as file:
        rows = json.loads(file.metadata()["rows"])
        lengths = [row["frames"] for row in rows]
        shapes, log_mel, pitch = (file.get_tensor(name).float() for name in STORED)
    mels = log_mel.split([MEL_PER_FRAME * length for length in lengths])
    return [SyncClip(*clip) for clip in zip(rows, shapes.split(lengths), mels, pitch.split(lengths), strict=True)]
