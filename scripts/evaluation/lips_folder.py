"""A folder of speech beside lip motion, without pictures: `manifest.csv`, `lips-N.npz`, `audio-N.tar`.

A row of the manifest is a clip: id, split, identity, frames, language, generated, av_offset_frames, shard, and
like_existing, the name that the person has in a folder of clips. `lips-N.npz` holds, for the clips `ids` of shard N,
how many `frames` each has, the mesh numbers `points` [K], the `units` of its blobs, and `points_xz`: positions of the
points over time in face heights, rigidly aligned, whole numbers of 1/units[0], zigzag differences over time of each
clip, planes of low and high bytes [2,3 K,all frames], xz. `audio-N.tar` holds `ID.opus`. 25 frames a second.
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
from scripts.evaluation.av_offsets import SAMPLES_PER_FRAME, align_speech, av_offset
from scripts.training.data import decode_speech

UPPER, LOWER = 13, 14  # mesh points: the middles of the inner lips
COLUMNS = ("id", "split", "identity", "generated", "shard")


@dataclass(frozen=True)
class LipClip:
    """Manifest row; speech [N] at 16 kHz in step with the lips; lip opening [T] over face height, as far as there is
    sound."""

    row: dict
    speech: np.ndarray
    opening: np.ndarray


def read_lips(folder: str | Path, split: str, limit: int | None = None) -> Iterator[LipClip]:
    """The clips of a split, shard by shard. InputError where the folder or the split is not there."""
    folder = Path(folder)
    rows = [row for row in _manifest(folder) if row["split"] == split]
    if not rows:
        raise InputError(f"lips is {str(folder)!r}, which has no clip of split {split!r}; see the split column")
    rows = sorted(rows, key=lambda row: row["shard"])[:limit]
    for shard, group in itertools.groupby(rows, lambda row: row["shard"]):
        openings = _openings(folder / f"lips-{shard}.npz")
        with tarfile.open(_existing(folder / f"audio-{shard}.tar")) as tar:
            for row in group:
                opening, offset = openings[row["id"]], av_offset(row)
                sound = decode_speech(tar.extractfile(f"{row['id']}.opus").read())
                size = len(opening) * SAMPLES_PER_FRAME
                sound = np.pad(sound[:size], (0, max(0, size - len(sound))))
                speech = align_speech(sound, len(opening), offset)
                yield LipClip(row, speech, opening[: len(speech) // SAMPLES_PER_FRAME])


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"no {path}; --lips must name a folder with manifest.csv, lips-N.npz and audio-N.tar")
    return path


def _manifest(folder: Path) -> list[dict]:
    path = _existing(folder / "manifest.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if missing := [name for name in COLUMNS if not rows or name not in rows[0]]:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; --lips must name a folder of lip motion")
    return rows


def _openings(path: Path) -> dict[str, np.ndarray]:
    """Distance of the inner lips' middles in the plane of the face, over face height, of every clip of a shard."""
    with np.load(_existing(path)) as stored:
        points, frames = stored["points"].tolist(), stored["frames"]
        upper, lower = points.index(UPPER), points.index(LOWER)
        tracks = _decode(stored["points_xz"], frames, int(stored["units"][0]))
        ids = stored["ids"].tolist()
    faces = [track.reshape(len(track), len(points), 3) for track in tracks]
    return {
        name: np.linalg.norm(face[:, lower, :2] - face[:, upper, :2], axis=1)
        for name, face in zip(ids, faces, strict=True)
    }


def _decode(blob: np.ndarray, frames: np.ndarray, unit: int) -> list[np.ndarray]:
    """Bytes of xz and the clips' frame counts [n] -> float32 [T,columns] of each clip."""
    planes = np.frombuffer(lzma.decompress(blob.tobytes()), np.uint8).reshape(2, -1, int(frames.sum()))
    zigzag = planes[0] | (planes[1].astype(np.uint16) << 8)
    delta = ((zigzag >> 1).astype(np.int16) ^ -(zigzag & 1).astype(np.int16)).T
    clips = np.split(delta, np.cumsum(frames)[:-1])
    return [np.cumsum(clip, 0, dtype=np.int16).astype(np.float32) / unit for clip in clips]
