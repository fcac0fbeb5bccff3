"""A folder of speech beside lip motion, without pictures: `manifest.csv`, `lips-N.npz`, `audio-N.tar`.

A row of the manifest is a clip: id, split, identity, frames, language, generated, av_offset_frames, shard, sync_r,
face_px_in_source. `lips-N.npz` holds, for the clips `ids` of shard N, how many `frames` each has, the mesh numbers
`points` [K], and four tracks over time, each with a place in `units`: `points_xz`, positions in face heights, rigidly
aligned [3 K]; `pose_xz` [6]; `eyes_xz`, lid openings [2]; `codes_xz`, expression [14]. A track is whole numbers of
1/unit, zigzag differences over time of each clip, planes of low and high bytes [2,columns,all frames], xz.
`audio-N.tar` holds `ID.opus`. 25 frames a second.
"""

from __future__ import annotations

import csv
import itertools
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from encoders.audio import SAMPLES_PER_FRAME
from scripts.training.data import decode_speech

COLUMNS = ("id", "split", "identity", "generated", "shard", "av_offset_frames")
TRACKS = ("points_xz", "pose_xz", "eyes_xz", "codes_xz")  # in the order of `units`


@dataclass(frozen=True)
class LipMotion:
    """Manifest row; sound float32 [640 T], as it was recorded; points [T,K,3] in face heights and their mesh numbers;
    motion [T,20]: pose and expression; lid openings [T,2].
    """

    row: dict
    sound: np.ndarray
    points: np.ndarray
    numbers: tuple[int, ...]
    motion: np.ndarray
    eyes: np.ndarray

    def at(self, *mesh: int) -> np.ndarray:
        """Points by mesh number: [T,len(mesh),3]."""
        return self.points[:, [self.numbers.index(number) for number in mesh]]


def read_lip_motion(folder: str | Path, splits: tuple[str, ...], limit: int | None = None) -> Iterator[LipMotion]:
    """The clips of some splits, shard by shard. InputError where the folder is of another kind or has no such clip."""
    folder = Path(folder)
    rows = sorted((row for row in manifest(folder) if row["split"] in splits), key=lambda row: row["shard"])[:limit]
    if not rows:
        raise InputError(
            f"lips is {str(folder)!r}, which has no clip of split {' or '.join(map(repr, splits))}; see column split"
        )
    for shard, group in itertools.groupby(rows, lambda row: row["shard"]):
        with np.load(_existing(folder / f"lips-{shard}.npz")) as stored:
            numbers, frames, ids = tuple(stored["points"].tolist()), stored["frames"], stored["ids"].tolist()
            tracks = [
                _decode(stored[name], frames, int(unit)) for name, unit in zip(TRACKS, stored["units"], strict=True)
            ]
        place = {name: number for number, name in enumerate(ids)}
        with tarfile.open(_existing(folder / f"audio-{shard}.tar")) as tar:
            for row in group:
                points, pose, eyes, codes = (track[place[row["id"]]] for track in tracks)
                file = tar.extractfile(f"{row['id']}.opus")
                assert file is not None  # a file, by its name
                size = len(points) * SAMPLES_PER_FRAME
                sound = decode_speech(file.read())[:size]
                sound = np.pad(sound, (0, size - len(sound)))
                motion = np.concatenate([pose, codes], 1)
                yield LipMotion(row, sound, points.reshape(len(points), -1, 3), numbers, motion, eyes)


def manifest(folder: Path) -> list[dict]:
    """The rows of a folder's manifest. InputError where it is missing or of another kind."""
    path = _existing(folder / "manifest.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if missing := [name for name in COLUMNS if not rows or name not in rows[0]]:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; --lips must name a folder of lip motion")
    return rows


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"no {path}; --lips must name a folder with manifest.csv, lips-N.npz and audio-N.tar")
    return path


def _decode(blob: np.ndarray, frames: np.ndarray, unit: int) -> list[np.ndarray]:
    """Bytes of xz and the clips' frame counts [n] -> float32 [T,columns] of each clip."""
    planes = np.frombuffer(lzma.decompress(blob.tobytes()), np.uint8).reshape(2, -1, int(frames.sum()))
    zigzag = planes[0] | (planes[1].astype(np.uint16) << 8)
    delta = ((zigzag >> 1).astype(np.int16) ^ -(zigzag & 1).astype(np.int16)).T
    clips = np.split(delta, np.cumsum(frames)[:-1])
    return [np.cumsum(clip, 0, dtype=np.int16).astype(np.float32) / unit for clip in clips]
