"""Clips, stills and their landmarks: read a data folder, and decode it once into memory-mapped frames.

The layout of a data folder is what `scripts.prepare_data` writes: `video/manifest.csv` beside tar shards that hold
`ID.mp4` and `ID.lm.xz`, and `stills/manifest.csv`, `stills.tar`, `landmarks.npz`.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import lzma
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image

from anitalker.config import CROP, LANDMARKS, InputError

UNIT = 2048  # landmarks are stored as whole numbers of 1/2048 crop widths


@dataclass(frozen=True)
class Clip:
    """One clip: its manifest row, its landmarks, its file as bytes."""

    row: dict
    landmarks: np.ndarray  # float32 [T, 468, 3], crop widths
    mp4: bytes

    @property
    def good(self) -> np.ndarray:
        """bool [T]: frames in which a face was found, from the manifest's packed flags; empty means all."""
        flags = np.frombuffer(bytes.fromhex(self.row["bad_frames_hex"]), np.uint8)
        return np.unpackbits(flags)[: len(self.landmarks)] > 0 if len(flags) else np.ones(len(self.landmarks), bool)


def manifest(data_dir: str | Path, kind: str) -> list[dict]:
    """Rows of `video`, `stills` or `speech` as dicts of strings."""
    path = Path(data_dir) / kind / "manifest.csv"
    if not path.is_file():
        raise InputError(f"no {path}; --data must name a folder laid out as scripts.prepare_data writes it")
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def encode_landmarks(landmarks: np.ndarray) -> bytes:
    """float [T,468,3] in crop widths -> the bytes of `ID.lm.xz`: zigzag differences over time, planes of bytes, xz."""
    whole = np.round(landmarks * UNIT).astype(np.int16).transpose(1, 2, 0)
    delta = np.diff(whole, axis=-1, prepend=np.int16(0)).astype(np.int16)
    zigzag = ((delta << 1) ^ (delta >> 15)).astype(np.uint16)
    return lzma.compress(np.stack([zigzag & 255, zigzag >> 8]).astype(np.uint8).tobytes())


def decode_landmarks(blob: bytes, frames: int) -> np.ndarray:
    """The inverse of `encode_landmarks`: float32 [frames,468,3]."""
    raw = np.frombuffer(lzma.decompress(blob), np.uint8).reshape(2, LANDMARKS, 3, frames).astype(np.uint16)
    zigzag = raw[0] | (raw[1] << 8)
    delta = (zigzag >> 1).astype(np.int16) ^ -(zigzag & 1).astype(np.int16)
    return np.cumsum(delta, axis=-1, dtype=np.int16).transpose(2, 0, 1).astype(np.float32) / UNIT


def load_clips(data_dir: str | Path, splits: tuple[str, ...]) -> Iterator[Clip]:
    """Every clip of these splits, shard by shard."""
    rows = [row for row in manifest(data_dir, "video") if row["split"] in splits]
    for shard, clips in itertools.groupby(sorted(rows, key=lambda row: row["shard"]), lambda row: row["shard"]):
        with tarfile.open(Path(data_dir) / "video" / f"{shard}.tar") as tar:
            for row in clips:
                landmarks, mp4 = (tar.extractfile(f"{row['id']}.{kind}").read() for kind in ("lm.xz", "mp4"))
                yield Clip(row, decode_landmarks(landmarks, int(row["frames"])), mp4)


def load_stills(data_dir: str | Path, splits: tuple[str, ...]) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """(row, picture uint8 [256,256,3], landmarks float32 [468,3] in crop widths) of every still of these splits."""
    folder = Path(data_dir) / "stills"
    if not (folder / "manifest.csv").is_file():
        return
    stored = np.load(folder / "landmarks.npz")
    landmarks = dict(zip(stored["ids"].tolist(), stored["xyz_2048"].astype(np.float32) / UNIT, strict=True))
    with tarfile.open(folder / "stills.tar") as tar:
        for row in manifest(data_dir, "stills"):
            if row["split"] in splits:
                picture = Image.open(io.BytesIO(tar.extractfile(f"{row['id']}.webp").read())).convert("RGB")
                yield row, np.asarray(picture), landmarks[row["id"]]


def decode_frames(mp4: bytes, every: int = 1) -> np.ndarray:
    """Frames 0, every, 2 every, ... of a 256x256 clip as uint8 [n,256,256,3]."""
    chosen = ["-an", "-vf", f"select=not(mod(n\\,{every}))", "-fps_mode", "passthrough"]
    pixels = _decode(mp4, *chosen, "-f", "rawvideo", "-pix_fmt", "rgb24")
    return np.frombuffer(pixels, np.uint8).reshape(-1, CROP, CROP, 3)


def decode_speech(mp4: bytes, rate: int = 16_000) -> np.ndarray:
    """The sound of a clip as float32 [N] mono at `rate` Hz; empty if it has none."""
    return np.frombuffer(_decode(mp4, "-vn", "-ac", "1", "-ar", str(rate), "-f", "f32le", check=False), np.float32)


def _decode(mp4: bytes, *options: str, check: bool = True) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i", "pipe:0", *options, "pipe:1"]
    return subprocess.run(command, input=mp4, capture_output=True, check=check).stdout


class FrameCache:
    """Memory-mapped frames of one split, made by `build_cache`, and shown at `size` pixels.

    frames uint8 [N,256,256,3]; landmarks float32 [N,468,3]; clip int [N], -1 for a still; frame int [N], number within
    the clip; identity int [N], one number per person (each still is a person); good bool [N]; rows: manifest rows of
    the clips.
    """

    def __init__(self, cache_dir: str | Path, split: str, size: int = CROP) -> None:
        folder = Path(cache_dir) / split
        if not (folder / "rows.json").is_file():
            advice = f"run python -m scripts.training.data --data DIR --cache {cache_dir}"
            raise InputError(f"no decoded frames in {folder}; {advice}")
        self.frames, self.size = np.load(folder / "frames.npy", mmap_mode="r"), size
        self._on_gpu: torch.Tensor | None = None
        index = np.load(folder / "index.npz")
        self.landmarks, self.clip, self.frame = index["landmarks"], index["clip"], index["frame"]
        self.identity, self.good = index["identity"], index["good"]
        self.rows = json.loads((folder / "rows.json").read_text())

    def __len__(self) -> int:
        return len(self.clip)

    @property
    def people(self) -> int:
        """How many people there are."""
        return int(self.identity.max()) + 1

    def frames_of(self, clip: int) -> np.ndarray:
        """Numbers of the good frames of a clip."""
        return np.flatnonzero((self.clip == clip) & self.good)

    def hold(self, device: torch.device, share: float = 0.6) -> bool:
        """Keep all frames on a GPU as uint8 if they take at most `share` of its free memory; whether they are there."""
        if device.type == "cuda" and self.frames.nbytes <= share * torch.cuda.mem_get_info(device)[0]:
            self._on_gpu = torch.empty(self.frames.shape, dtype=torch.uint8, device=device)
            for first in range(0, len(self.frames), 1024):
                self._on_gpu[first : first + 1024] = torch.from_numpy(np.array(self.frames[first : first + 1024]))
        return self._on_gpu is not None

    def pictures(self, numbers: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Frames by number as uint8 [n,size,size,3] on the device; smaller ones by averages."""
        if self._on_gpu is not None:
            pictures = self._on_gpu[torch.from_numpy(np.asarray(numbers)).to(self._on_gpu.device)].to(device)
        else:
            pictures = torch.from_numpy(np.array(self.frames[numbers])).to(device, non_blocking=True)
        if self.size == CROP:
            return pictures
        small = torch.nn.functional.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2).float(), self.size)
        return small.round_().to(torch.uint8).permute(0, 2, 3, 1)

    def draw(self, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames by number: uint8 [n,size,size,3] and landmarks float32 [n,468,3], on the CPU."""
        return self.pictures(numbers), torch.from_numpy(self.landmarks[numbers])


def build_cache(data_dir: str | Path, cache_dir: str | Path, split: str, every: int = 2, every_grid: int = 10) -> None:
    """Decode a split once: each `every`-th frame (`every_grid`-th of the 394 clips of one man) and all stills."""
    folder = Path(cache_dir) / split
    if (folder / "rows.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in manifest(data_dir, "video") if row["split"] == split]
    steps = {row["id"]: every_grid if row["shard"].startswith("grid") else every for row in rows}
    stills = list(load_stills(data_dir, (split,)))
    total = sum(-(-int(row["frames"]) // steps[row["id"]]) for row in rows) + len(stills)
    frames = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, (total, CROP, CROP, 3))
    people = {name: i for i, name in enumerate(sorted({row["identity"] for row in rows}))}
    names = ("landmarks", "clip", "frame", "identity", "good")
    decoded_rows, columns, count = [], [], 0
    for clip in load_clips(data_dir, (split,)):
        step = steps[clip.row["id"]]
        decoded, landmarks, good = decode_frames(clip.mp4, step), clip.landmarks[::step], clip.good[::step]
        n = min(len(decoded), len(landmarks))
        frames[count : count + n] = decoded[:n]
        numbers = np.full(n, len(decoded_rows)), np.arange(n) * step, np.full(n, people[clip.row["identity"]])
        columns.append((landmarks[:n], *numbers, good[:n]))
        decoded_rows.append(clip.row)
        count += n
    for person, (_, picture, landmarks) in enumerate(stills, len(people)):
        frames[count] = picture
        columns.append(tuple(np.asarray(value)[None] for value in (landmarks, -1, 0, person, True)))
        count += 1
    index = {name: np.concatenate(values) for name, values in zip(names, zip(*columns, strict=True), strict=True)}
    np.savez(folder / "index.npz", **index)
    (folder / "rows.json").write_text(json.dumps(decoded_rows))


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode a data folder once for training.")
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--cache", default="runs/cache", help="where the decoded frames go")
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    arguments = parser.parse_args()
    for split in arguments.splits:
        build_cache(arguments.data, arguments.cache, split)
        print(f"{split}: {len(FrameCache(arguments.cache, split))} frames in {Path(arguments.cache) / split}")


if __name__ == "__main__":
    main()
