"""The mouths of the decoded frames as one small file, for a training on another machine.

    python -m scripts.training.mouth_pack --cache runs/cache -o mouths.tar --stills 1500
    python -m scripts.train_mouth --pack mouths.tar --perceptual-network squeezenet.npz --out runs/mouth

Of each clip the box about the mouth is kept, as H.264, with the landmarks; of stills as WebP, the widest open first.
Outside of the box the unpacked frames are black: the mouth patch does not look there.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image

from anitalker.config import CROP, InputError
from anitalker.decoder.mouth_patch import place_patch
from anitalker.faces.landmarks import lip_opening
from scripts.training.data import FrameCache, decode_landmarks, encode_landmarks
from scripts.training.recipe import command

LABELS = "labels-lite.npz"  # in the cache: neutral faces and the model's directions
MARGIN = 12  # pixels about the patches: what a warp to another pose may need
QUALITY = {"crf": "18", "webp": 90}


def mouth_box(landmarks: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in pixels, even, that hold the patches of landmarks [T,468,3] and a margin."""
    placement = place_patch(torch.tensor(landmarks)).numpy()
    reach = np.abs(placement[..., :2]).sum(-1)
    low, high = (placement[..., 2] - reach).min(0), (placement[..., 2] + reach).max(0)
    first = (np.clip(low * CROP - MARGIN, 0, CROP - 2) // 2 * 2).astype(int)
    last = (-(-np.clip(high * CROP + MARGIN, 2, CROP) // 2) * 2).astype(int)
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def pack(cache_dir: str | Path, output: Path, stills: int, skip: Sequence[str] = ()) -> int:
    """Write a pack of both splits of a cache; skip: shards that are left out. Returns its size in bytes."""
    with tarfile.open(output, "w") as tar:
        _add(tar, LABELS, (Path(cache_dir) / LABELS).read_bytes())
        for split in ("train", "val"):
            cache = FrameCache(cache_dir, split)
            clips, rows = [], []
            for clip, row in enumerate(cache.rows):
                numbers = np.flatnonzero(cache.clip == clip)
                if row["shard"] in skip or not cache.good[numbers].any():
                    continue
                box = mouth_box(cache.landmarks[numbers][cache.good[numbers]])
                left, top, right, bottom = box
                name = f"{split}/{len(rows)}"
                _add(tar, f"{name}.mp4", _encode(cache.frames[numbers][:, top:bottom, left:right]))
                _add(tar, f"{name}.lm.xz", encode_landmarks(cache.landmarks[numbers]))
                frames = {"frame": cache.frame[numbers].tolist(), "good": cache.good[numbers].astype(int).tolist()}
                clips.append({"box": box, **frames})
                rows.append(row)
            if not rows:
                raise InputError(f"no clip of {split} is left in {cache_dir} without {list(skip)}; leave out less")
            chosen = np.flatnonzero(cache.clip < 0)
            chosen = chosen[np.argsort(-lip_opening(cache.landmarks[chosen]))][: stills if split == "train" else 0]
            boxes = [mouth_box(cache.landmarks[number][None]) for number in chosen]
            for index, (number, (left, top, right, bottom)) in enumerate(zip(chosen, boxes, strict=True)):
                picture, file = Image.fromarray(cache.frames[number][top:bottom, left:right]), io.BytesIO()
                picture.save(file, "WEBP", quality=QUALITY["webp"])
                _add(tar, f"{split}/still-{index}.webp", file.getvalue())
            _add(tar, f"{split}/stills.lm.xz", encode_landmarks(cache.landmarks[chosen]) if len(chosen) else b"")
            _add(tar, f"{split}/index.json", json.dumps({"rows": rows, "clips": clips, "stills": boxes}).encode())
    return output.stat().st_size


def unpack(source: str | Path, cache_dir: str | Path) -> None:
    """Make the cache that a pack holds, where it is not there yet."""
    if not Path(source).is_file():
        raise InputError(f"no pack {str(source)!r}; make one with python -m scripts.training.mouth_pack")
    with tarfile.open(source) as tar:
        members = {member.name: member for member in tar.getmembers()}

        def read(name: str) -> bytes:
            handle = tar.extractfile(members[name])
            assert handle is not None
            return handle.read()

        Path(cache_dir).mkdir(parents=True, exist_ok=True)
        (Path(cache_dir) / LABELS).write_bytes(read(LABELS))
        for split in ("train", "val"):
            folder = Path(cache_dir) / split
            if (folder / "rows.json").is_file():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            index = json.loads(read(f"{split}/index.json"))
            _unpack_split(folder, split, index, read)
            (folder / "rows.json").write_text(json.dumps(index["rows"]))


def _unpack_split(folder: Path, split: str, index: dict, read) -> None:
    counts = [len(clip["frame"]) for clip in index["clips"]]
    stills = len(index["stills"])
    frames = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, (sum(counts) + stills, CROP, CROP, 3))
    people = {name: n for n, name in enumerate(sorted({row["identity"] for row in index["rows"]}))}
    columns: dict[str, list] = {name: [] for name in ("landmarks", "clip", "frame", "identity", "good")}
    start = 0
    for number, (clip, row, count) in enumerate(zip(index["clips"], index["rows"], counts, strict=True)):
        left, top, right, bottom = clip["box"]
        pixels = _decode(read(f"{split}/{number}.mp4"), bottom - top, right - left)
        frames[start : start + count, top:bottom, left:right] = pixels[:count]
        columns["landmarks"].append(decode_landmarks(read(f"{split}/{number}.lm.xz"), count))
        columns["clip"].append(np.full(count, number))
        columns["frame"].append(np.array(clip["frame"]))
        columns["identity"].append(np.full(count, people[row["identity"]]))
        columns["good"].append(np.array(clip["good"], bool))
        start += count
    if stills:
        for number, (left, top, right, bottom) in enumerate(index["stills"]):
            picture = Image.open(io.BytesIO(read(f"{split}/still-{number}.webp"))).convert("RGB")
            frames[start + number, top:bottom, left:right] = np.asarray(picture)
        columns["landmarks"].append(decode_landmarks(read(f"{split}/stills.lm.xz"), stills))
        columns["clip"].append(np.full(stills, -1))
        columns["frame"].append(np.zeros(stills, int))
        columns["identity"].append(len(people) + np.arange(stills))
        columns["good"].append(np.ones(stills, bool))
    frames.flush()
    np.savez(folder / "index.npz", **{name: np.concatenate(parts) for name, parts in columns.items()})


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _encode(frames: np.ndarray) -> bytes:
    """uint8 [T,h,w,3] -> H.264 in Matroska, which can be written to a pipe."""
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
    command += ["-r", "25", "-i", "-", "-c:v", "libx264", "-preset", "slow", "-crf", QUALITY["crf"], "-threads", "1"]
    command += ["-pix_fmt", "yuv420p", "-f", "matroska", "-"]
    return subprocess.run(command, input=np.ascontiguousarray(frames).tobytes(), capture_output=True, check=True).stdout


def _decode(blob: bytes, height: int, width: int) -> np.ndarray:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i", "-", "-f", "rawvideo"]
    pixels = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], input=blob, capture_output=True, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, height, width, 3)


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", default="runs/cache", help="decoded frames and labels")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.tar")
    parser.add_argument("--stills", type=int, default=1500, help="at most so many, the widest open first")
    parser.add_argument("--skip", nargs="*", default=[], metavar="SHARD", help="shards that are left out")
    options = parser.parse_args(argv)
    size = pack(options.cache, Path(options.output), options.stills, options.skip)
    print(f"{options.output}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(main())
