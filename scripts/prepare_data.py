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
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from PIL import Image
from scipy.interpolate import interp1d
from scipy.io import wavfile

from anitalker.config import CROP, FPS, LANDMARKS, SAMPLE_RATE, InputError
from anitalker.faces import face_alignment_backend
from anitalker.faces.crop import FACE_IN_CROP, MIDDLE_IN_CROP
from anitalker.faces.detection import FaceFinder, iou
from anitalker.faces.landmarks import CHIN, FOREHEAD, OneEuro, face_height
from anitalker.media.video import probe, read_audio, read_frames
from anitalker.models import loading
from scripts.training.data import encode_landmarks, manifest
from scripts.training.recipe import command

COLUMNS = ("id", "split", "shard", "identity", "frames", "seconds", "has_audio", "speaking_visible", "generated")
COLUMNS += ("face_px_in_source", "licence", "source", "source_path", "bad_frames_hex", "notes")
VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".ts"}
SHARD_BYTES = 48_000_000
GAP = 5  # frames without a face that are bridged
SCENE_CUT = 25  # mean grey change between two frames, 0..255


class Track(NamedTuple):
    """A video frame by frame; change: mean grey difference to the frame before, 0..255; landmarks in pixels."""

    change: np.ndarray  # float32 [T]
    landmarks: np.ndarray  # float32 [T,468,3], 0 where there is none
    has_face: np.ndarray  # bool [T]


def track(frames: Iterable[np.ndarray], finder) -> Track:
    """Follow one face through uint8 [H,W,3] frames: the largest at first, then the one that overlaps its last place."""
    change, landmarks, has_face = [], [], []
    before, box = None, None
    for frame in frames:
        small = frame[:: max(1, frame.shape[0] // 48), :: max(1, frame.shape[1] // 48)].mean(-1)
        change.append(0.0 if before is None else float(np.abs(small - before).mean()))
        before = small
        faces = finder.find(frame)
        if faces and box is not None and iou(faces[0].box, box) < 0.3:
            faces = sorted(faces, key=lambda face: -iou(face.box, box))
        has_face.append(bool(faces))
        landmarks.append(faces[0].landmarks if faces else np.zeros((LANDMARKS, 3), np.float32))
        box = faces[0].box if faces else box
    return Track(np.float32(change), np.float32(landmarks).reshape(-1, LANDMARKS, 3), np.array(has_face, bool))


def segments(
    video: Track, shortest: float, longest: float, smallest: float, scene: float = SCENE_CUT
) -> list[tuple[int, int]]:
    """Stretches [start,end) of one scene and face, `shortest` to `longest` seconds, face `smallest` pixels or higher.

    A new stretch begins where the picture changes by more than `scene` (a cut), where the face jumps by a third of its
    height, and after more than GAP frames without it; no stretch begins or ends without a face.
    """
    seen = np.flatnonzero(video.has_face)
    breaks = [i for i, (last, t) in enumerate(pairwise(seen), 1) if _is_cut(video, last, t, scene)]
    stretches = []
    for frames in np.split(seen, breaks) if len(seen) else ():
        start, end = frames[0], frames[-1] + 1
        edges = np.linspace(start, end, max(1, int(np.ceil((end - start) / (longest * FPS)))) + 1).round().astype(int)
        for stretch in pairwise(edges.tolist()):
            has_face = video.has_face[slice(*stretch)]
            height = np.median(face_height(video.landmarks[slice(*stretch)])[has_face])
            if len(has_face) >= shortest * FPS and has_face.mean() > 0.8 and height >= smallest:
                stretches.append(stretch)
    return stretches


def _is_cut(video: Track, last: int, t: int, scene: float) -> bool:
    """Whether something other begins between two frames with a face."""
    step = np.linalg.norm(video.landmarks[t, :, :2].mean(0) - video.landmarks[last, :, :2].mean(0))
    jump = step > face_height(video.landmarks[t]) / 3
    return t - last > GAP + 1 or jump or video.change[last + 1 : t + 1].max() > scene


def bridge(landmarks: np.ndarray, has_face: np.ndarray) -> np.ndarray:
    """Landmarks [T,468,3] with the frames that have none filled linearly from their neighbours in time."""
    known, filled = np.flatnonzero(has_face), landmarks.copy()
    ends = (landmarks[known[0]], landmarks[known[-1]])
    between = interp1d(known, landmarks[known], axis=0, bounds_error=False, fill_value=ends)
    filled[~has_face] = between(np.flatnonzero(~has_face))
    return filled


def smooth(landmarks: np.ndarray, height: float) -> np.ndarray:
    """One-Euro filter over time, in face heights, so that its strength does not depend on the resolution."""
    one_euro = OneEuro(FPS)
    return np.stack([one_euro(frame) for frame in landmarks / height]).astype(np.float32) * height


def square(landmarks: np.ndarray) -> tuple[float, float, float]:
    """The fixed crop of landmarks [T,468,3] in pixels, placed as by `crop_face`: left, top, side."""
    side = float(np.median(face_height(landmarks))) / FACE_IN_CROP
    x, y = np.median(landmarks[:, [FOREHEAD, CHIN], :2].mean(1), axis=0)
    return float(x - side * MIDDLE_IN_CROP[0]), float(y - side * MIDDLE_IN_CROP[1]), side


def cut(frame: np.ndarray, left: float, top: float, side: float) -> np.ndarray:
    """That square of uint8 [H,W,3] as [256,256,3]; beyond the picture its border is repeated."""
    height, width = frame.shape[:2]
    edge = int(np.ceil(max(0, -left, -top, left + side - width, top + side - height)))
    padded = np.pad(frame, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    box = (left + edge, top + edge, left + edge + side, top + edge + side)
    return np.asarray(Image.fromarray(padded).resize((CROP, CROP), Image.Resampling.LANCZOS, box=box))


def prepare_video(path: Path, finder, options: argparse.Namespace) -> Iterator[tuple[dict, dict[str, bytes]]]:
    """The clips of one video: rows of the manifest without split and shard, and the files of each by name."""
    video = track(read_frames(path), finder)
    stretches = segments(video, options.min_seconds, options.max_seconds, options.min_face, options.scene)
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


def person(path: Path, root: Path, rule: str = "file") -> str:
    """Who a video shows: its subfolder of root; else its own name (rule file) or its name's first word (rule name)."""
    name = path.relative_to(root).with_suffix("").parts[0]
    return re.split("[_-]", name)[0] if rule == "name" and path.parent == root else name


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
        self.rows = manifest(folder, "video") if self.manifest.is_file() else []
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
    parser.add_argument("--scene", type=float, default=SCENE_CUT, help="mean grey change of a scene cut, 0..255")
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
