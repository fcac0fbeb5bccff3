"""Videos -> face clips, landmarks and sound in the layout that training and evaluation read.

    python -m scripts.prepare_data VIDEOS -o DATA [--face-backend own|face-alignment] [--val 0.1]

VIDEOS is a folder (searched with its subfolders) or a file. DATA/video gets manifest.csv and tar shards with, per clip,
ID.mp4 (256x256, 25 fps, H.264, AAC 16 kHz mono), ID.lm.xz (468 landmarks per frame) and ID.wav where there is sound.
One fixed square per clip, the face about 0.55 of it high; cut where the scene changes or the face is lost. A subfolder
is a person; a video that lies in VIDEOS itself is a person of its own, unless --person name takes the part of its name
before the first _ or -. A second run continues: videos that are in the manifest already are skipped.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from scipy.io import wavfile

from anitalker.config import CROP, FPS, SAMPLE_RATE, InputError
from anitalker.faces import face_alignment_backend
from anitalker.faces.detection import FaceFinder
from anitalker.faces.landmarks import face_height
from anitalker.media.video import probe, read_audio, read_frames
from anitalker.models import loading
from scripts.face_track import bridge, cut, segments, smooth, square, track
from scripts.training.data import encode_landmarks
from scripts.training.recipe import command

COLUMNS = ("id", "split", "shard", "identity", "frames", "seconds", "has_audio", "speaking_visible", "generated")
COLUMNS += ("face_px_in_source", "licence", "source", "source_path", "bad_frames_hex", "notes")
VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".ts"}
SHARD_BYTES = 48_000_000


def prepare_video(path: Path, finder, options: argparse.Namespace) -> Iterator[tuple[dict, dict[str, bytes]]]:
    """The clips of one video: rows of the manifest without split and shard, and the files of each by name."""
    video = track(read_frames(path), finder)
    stretches = segments(video, options.scene, options.min_seconds, options.max_seconds, options.min_face)
    sound = read_audio(path) if stretches and probe(path).audio_codec else np.zeros(0, np.float32)
    frames = enumerate(read_frames(path))
    stem = f"{re.sub('[^A-Za-z0-9]+', '-', path.stem).strip('-')[:40]}_{digest(str(path.resolve()))[:5]}"
    for number, (start, end) in enumerate(stretches, 1):
        name, has_face = f"{stem}_t{number:02d}", video.has_face[start:end]
        points = bridge(video.landmarks[start:end], has_face)
        height = float(np.median(face_height(points)))
        left, top, side = square(points)
        points = (smooth(points, height) - np.float32([left, top, 0])) / side
        speech = sound[start * SAMPLE_RATE // FPS : end * SAMPLE_RATE // FPS]
        speech = np.pad(speech, (0, (end - start) * SAMPLE_RATE // FPS - len(speech)))
        audible = bool(np.abs(speech).max(initial=0) > 1e-3)
        crops = (cut(frame, left, top, side) for t, frame in frames if t >= start)
        files = encode_clip(name, crops, end - start, speech if audible else None)
        row = {
            "id": name,
            "frames": end - start,
            "seconds": round((end - start) / FPS, 2),
            "has_audio": "yes" if audible else "no",
            "speaking_visible": options.speaking if audible else "no",
            "generated": options.generated,
            "face_px_in_source": round(height),
            "licence": options.licence,
            "source": options.source or path.parent.name,
            "bad_frames_hex": "" if has_face.all() else np.packbits(has_face).tobytes().hex(),
            "notes": "",
        }
        yield row, files | {f"{name}.lm.xz": encode_landmarks(points)}


def encode_clip(name: str, crops: Iterator[np.ndarray], frames: int, speech: np.ndarray | None) -> dict[str, bytes]:
    """NAME.mp4 of the next 256x256 pictures and of sound, float32 [N] at 16 kHz, and its NAME.wav, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        mp4, wav, sound = Path(folder) / f"{name}.mp4", Path(folder) / f"{name}.wav", {}
        output = ["-crf", "18", "-movflags", "+faststart"]
        if speech is not None:
            wavfile.write(wav, SAMPLE_RATE, (np.clip(speech, -1, 1) * 32767).round().astype("<i2"))
            sound = {"audio_path": str(wav), "audio_codec": "aac"}
            output += ["-b:a", "64k", "-ar", str(SAMPLE_RATE), "-ac", "1"]
        writer = imageio_ffmpeg.write_frames(
            str(mp4), (CROP, CROP), fps=FPS, codec="libx264", quality=None, output_params=output, **sound
        )
        writer.send(None)
        for _ in range(frames):
            writer.send(np.ascontiguousarray(next(crops)))
        writer.close()
        return {file.name: file.read_bytes() for file in (mp4, wav) if file.is_file()}


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def person(path: Path, root: Path, rule: str) -> str:
    """Who a video shows: its subfolder of root; else its own name (rule file) or the name's first word (rule name)."""
    if path.parent != root:
        return path.relative_to(root).parts[0]
    return re.split("[_-]", path.stem)[0] if rule == "name" else path.stem


def assign_splits(people: Iterable[str], share: float, known: dict[str, str]) -> dict[str, str]:
    """Person -> train or val, `share` of the people to val, by a hash of the name; who has a split already keeps it."""
    everybody = sorted(set(people), key=digest)
    splits = {name: known[name] for name in everybody if name in known}
    wanted = max(1, round(share * len(everybody))) if share > 0 and len(everybody) > 1 else 0
    for name in everybody:
        if name not in splits:
            splits[name] = "val" if list(splits.values()).count("val") < wanted else "train"
    return splits


class Shards:
    """The output folder: tar shards of about 48 MB, and the manifest, rewritten whole after every video."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "video"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.manifest = self.folder / "manifest.csv"
        self.rows: list[dict] = []
        if self.manifest.is_file():
            with open(self.manifest, newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))
        self.known = {row["identity"]: row["split"] for row in self.rows}

    def add(self, row: dict, files: dict[str, bytes]) -> None:
        """Append one clip to the newest shard."""
        number = len(list(self.folder.glob("clips-*.tar")))
        if number and (self.folder / f"clips-{number - 1}.tar").stat().st_size < SHARD_BYTES:
            number -= 1
        with tarfile.open(self.folder / f"clips-{number}.tar", "a") as tar:
            for name, blob in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(blob)
                tar.addfile(member, io.BytesIO(blob))
        self.rows.append(row | {"shard": f"clips-{number}"})

    def save(self, share: float) -> None:
        """Write the manifest with every person's split."""
        splits = assign_splits((row["identity"] for row in self.rows), share, self.known)
        partial = self.manifest.with_suffix(".part")
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(row | {"split": splits[row["identity"]]} for row in self.rows)
        partial.replace(self.manifest)


def make_finder(backend: str, device: str):
    """The face finder of that name; both find every landmark of every face in a picture."""
    if backend == "face-alignment":
        return face_alignment_backend.FaceAlignmentFinder(loading.read("landmarks68")[1], device)
    return FaceFinder(loading.load_face(), device)


def find_videos(root: Path) -> list[Path]:
    """Every video under a folder, or the file itself; InputError if there is none."""
    videos = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix.lower() in VIDEOS)
    if not videos:
        raise InputError(f"no video in {str(root)!r}; give a file or a folder with {', '.join(sorted(VIDEOS))}")
    return videos


def prepare(options: argparse.Namespace, finder) -> int:
    """Prepare every video that is not in the manifest yet; the number of clips in it afterwards."""
    root = Path(options.videos)
    videos, shards = find_videos(root), Shards(Path(options.out))
    done = {row["source_path"] for row in shards.rows}
    home = root.parent if root.is_file() else root
    for number, path in enumerate(videos, 1):
        name = path.relative_to(home).as_posix()
        if name in done:
            continue
        before = len(shards.rows)
        try:
            for row, files in prepare_video(path, finder, options):
                shards.add(row | {"identity": person(path, home, options.person), "source_path": name}, files)
        except InputError as error:
            print(f"skipped {name}: {error}", file=sys.stderr)
        shards.save(options.val)
        print(f"{number}/{len(videos)} {name}: {len(shards.rows) - before} clips", file=sys.stderr, flush=True)
    return len(shards.rows)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", help="a folder of videos, or one video")
    parser.add_argument("-o", "--out", required=True, help="the data folder to make or continue")
    parser.add_argument("--face-backend", choices=("own", "face-alignment"), default="own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--person", choices=("file", "name"), default="file", help="who a video in VIDEOS itself shows")
    parser.add_argument("--val", type=float, default=0.1, help="share of the people in the split val")
    parser.add_argument("--min-seconds", type=float, default=2.0)
    parser.add_argument("--max-seconds", type=float, default=12.0)
    parser.add_argument("--min-face", type=float, default=80, help="forehead to chin in pixels of the source")
    parser.add_argument("--scene", type=float, default=25, help="mean grey change of a scene cut, 0..255")
    parser.add_argument("--speaking", choices=("yes", "no", "unknown"), default="yes", help="speaker seen where heard")
    parser.add_argument("--generated", choices=("yes", "no", "unknown"), default="no", help="made by a machine")
    parser.add_argument("--licence", default="unknown")
    parser.add_argument("--source", default="", help="where the videos come from; the default is their folder's name")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    count = prepare(options, make_finder(options.face_backend, options.device))
    if not count:
        raise InputError(f"no clip was cut from {options.videos!r}; see above, or lower --min-face or --min-seconds")
    print(f"{count} clips in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
