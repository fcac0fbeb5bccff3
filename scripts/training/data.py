"""Clips, stills and their landmarks: read a data folder, and decode it once into memory-mapped frames.

The layout of a data folder is what `scripts.prepare_data` writes: `video/manifest.csv` beside tar shards that hold
`ID.mp4` and `ID.lm.xz`, and `stills/manifest.csv`, `stills.tar`, `landmarks.npz`.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anitalker.config import CROP, LANDMARKS, InputError

UNIT = 2048  # landmarks are stored as whole numbers of 1/2048 crop widths


@dataclass(frozen=True)
class Clip:
    row: dict
    landmarks: np.ndarray  # float32 [T, 468, 3], crop widths
    mp4: bytes

    @property
    def good(self) -> np.ndarray:
        """bool [T]: frames in which a face was found."""
        return good_frames(self.row, len(self.landmarks))


def manifest(data_dir: str | Path, kind: str) -> list[dict]:
    """Rows of `video`, `stills` or `speech` as dicts of strings."""
    path = Path(data_dir) / kind / "manifest.csv"
    if not path.is_file():
        raise InputError(f"no {path}; --data must name a folder laid out as scripts.prepare_data writes it")
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def good_frames(row: dict, frames: int) -> np.ndarray:
    """bool [frames] from the manifest's packed 'face found' flags; empty means all."""
    if not row["bad_frames_hex"]:
        return np.ones(frames, bool)
    return np.unpackbits(np.frombuffer(bytes.fromhex(row["bad_frames_hex"]), np.uint8))[:frames].astype(bool)


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
    data_dir = Path(data_dir)
    rows = [row for row in manifest(data_dir, "video") if row["split"] in splits]
    for shard in sorted({row["shard"] for row in rows}):
        with tarfile.open(data_dir / "video" / f"{shard}.tar") as tar:
            members = {member.name: member for member in tar}
            for row in (row for row in rows if row["shard"] == shard):
                blob = tar.extractfile(members[f"{row['id']}.lm.xz"]).read()
                mp4 = tar.extractfile(members[f"{row['id']}.mp4"]).read()
                yield Clip(row, decode_landmarks(blob, int(row["frames"])), mp4)


def load_stills(data_dir: str | Path, splits: tuple[str, ...]) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """(row, picture uint8 [256,256,3], landmarks float32 [468,3] in crop widths) of every still of these splits."""
    data_dir = Path(data_dir)
    if not (data_dir / "stills" / "manifest.csv").is_file():
        return
    stored = np.load(data_dir / "stills" / "landmarks.npz")
    landmarks = dict(zip(stored["ids"].tolist(), stored["xyz_2048"].astype(np.float32) / UNIT, strict=True))
    with tarfile.open(data_dir / "stills" / "stills.tar") as tar:
        for row in manifest(data_dir, "stills"):
            if row["split"] in splits:
                picture = Image.open(io.BytesIO(tar.extractfile(f"{row['id']}.webp").read())).convert("RGB")
                yield row, np.asarray(picture), landmarks[row["id"]]


def decode_frames(mp4: bytes, every: int = 1) -> np.ndarray:
    """Frames 0, every, 2 every, ... of a 256x256 clip as uint8 [n,256,256,3]."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i", "pipe:0", "-an"]
    command += ["-vf", f"select=not(mod(n\\,{every}))", "-fps_mode", "passthrough"]
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"], input=mp4, capture_output=True, check=True
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, CROP, CROP, 3)


def decode_speech(mp4: bytes, rate: int = 16_000) -> np.ndarray:
    """The sound of a clip as float32 [N] mono at `rate` Hz; empty if it has none."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "pipe:0", "-vn", "-ac", "1", "-ar", str(rate)]
    done = subprocess.run([*command, "-f", "f32le", "pipe:1"], input=mp4, capture_output=True, check=False)
    return np.frombuffer(done.stdout, np.float32)


class FrameCache:
    """Memory-mapped frames of one split, made by `build_cache`; `size` other than 256: halved to it once, by averages.

    frames uint8 [N,256,256,3]; landmarks float32 [N,468,3]; clip int [N], -1 for a still; frame int [N], number within
    the clip; identity int [N], one number per person (each still is a person); good bool [N]; rows: manifest rows of
    the clips.
    """

    def __init__(self, cache_dir: str | Path, split: str, size: int = CROP) -> None:
        folder = Path(cache_dir) / split
        if not (folder / "rows.json").is_file():
            raise InputError(
                f"no decoded frames in {folder}; run python -m scripts.training.data --data DIR --cache {cache_dir}"
            )
        self.frames = np.load(folder / "frames.npy" if size == CROP else _smaller(folder, size), mmap_mode="r")
        self._held: torch.Tensor | None = None
        index = np.load(folder / "index.npz")
        self.landmarks, self.clip, self.frame = index["landmarks"], index["clip"], index["frame"]
        self.identity, self.good = index["identity"], index["good"]
        self.rows = json.loads((folder / "rows.json").read_text())

    def __len__(self) -> int:
        return len(self.clip)

    def hold(self, device: torch.device, share: float = 0.6) -> bool:
        """Keep all frames on a GPU as uint8 if they take at most `share` of its free memory; whether they are there."""
        if device.type == "cuda" and self.frames.nbytes <= share * torch.cuda.mem_get_info(device)[0]:
            self._held = torch.empty(self.frames.shape, dtype=torch.uint8, device=device)
            for first in range(0, len(self.frames), 1024):
                self._held[first : first + 1024] = torch.from_numpy(
                    np.ascontiguousarray(self.frames[first : first + 1024])
                )
        return self._held is not None

    def pictures(self, numbers: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Frames by number as uint8 [n,H,W,3] on the device."""
        if self._held is not None:
            return self._held[torch.from_numpy(np.asarray(numbers)).to(self._held.device)].to(device)
        chosen = torch.from_numpy(np.stack([self.frames[n] for n in numbers]))
        return chosen.to(device, non_blocking=True)


def _smaller(folder: Path, size: int) -> Path:
    """The file of a split's frames at size x size pixels, made from the full ones if it is not there."""
    path = folder / f"frames-{size}.npy"
    if not path.is_file():
        full = np.load(folder / "frames.npy", mmap_mode="r")
        partial = path.with_suffix(".partial.npy")
        made = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(full), size, size, 3))
        for first in range(0, len(full), 256):
            piece = torch.from_numpy(np.array(full[first : first + 256])).permute(0, 3, 1, 2).float()
            small = torch.nn.functional.adaptive_avg_pool2d(piece, size).round_().to(torch.uint8)
            made[first : first + 256] = small.permute(0, 2, 3, 1).numpy()
        made.flush()
        partial.replace(path)
    return path


def build_cache(data_dir: str | Path, cache_dir: str | Path, split: str, every: int = 2, every_grid: int = 10) -> None:
    """Decode a split once: each `every`-th frame (`every_grid`-th of the 394 clips of one man) and all stills."""
    folder = Path(cache_dir) / split
    if (folder / "rows.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    steps = {r["id"]: every_grid if r["shard"].startswith("grid") else every for r in manifest(data_dir, "video")}
    rows = [r for r in manifest(data_dir, "video") if r["split"] == split]
    stills = list(load_stills(data_dir, (split,)))
    total = sum(-(-int(r["frames"]) // steps[r["id"]]) for r in rows) + len(stills)
    frames = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, (total, CROP, CROP, 3))
    people = {name: i for i, name in enumerate(sorted({r["identity"] for r in rows}))}
    lists: dict[str, list] = {"landmarks": [], "clip": [], "frame": [], "identity": [], "good": []}
    kept, at = [], 0
    for number, clip in enumerate(load_clips(data_dir, (split,))):
        step = steps[clip.row["id"]]
        decoded = decode_frames(clip.mp4, step)
        n = min(len(decoded), len(clip.landmarks[::step]))
        frames[at : at + n] = decoded[:n]
        at += n
        kept.append(clip.row)
        lists["landmarks"].append(clip.landmarks[::step][:n])
        lists["clip"].append(np.full(n, number))
        lists["frame"].append(np.arange(n) * step)
        lists["identity"].append(np.full(n, people[clip.row["identity"]]))
        lists["good"].append(clip.good[::step][:n])
    for i, (_, picture, landmarks) in enumerate(stills):
        frames[at] = picture
        at += 1
        for name, value in zip(lists, (landmarks, -1, 0, len(people) + i, True), strict=True):
            lists[name].append(np.asarray(value)[None])
    index = {name: np.concatenate(parts) for name, parts in lists.items()}
    if at < total:  # fewer frames decoded than the manifest says: keep the mapped file, never index past `at`
        print(f"{split}: {total - at} frames of the manifest were not in the files")
    np.savez(folder / "index.npz", **index)
    (folder / "rows.json").write_text(json.dumps(kept))


def main() -> None:
    import argparse

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
