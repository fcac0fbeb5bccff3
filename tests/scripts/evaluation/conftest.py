"""A small folder of speech beside lip motion, as --lips reads it."""

import csv
import io
import lzma
import subprocess
import tarfile
import wave

import imageio_ffmpeg
import numpy as np
import pytest

RATE, HOP, FRAMES = 16_000, 640, 60
POINTS = (61, 14, 13)
COLUMNS = ("id", "split", "identity", "frames", "language", "generated", "av_offset_frames", "shard", "like_existing")


def opus(sound):
    """Samples -> the bytes of an Opus file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1), out.setsampwidth(2), out.setframerate(RATE)
        out.writeframes((sound * 32767).astype("<i2").tobytes())
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "-", "-c:a", "libopus", "-f", "ogg", "-"]
    return subprocess.run(command, input=file.getvalue(), capture_output=True, check=True).stdout


def encode(tracks, unit):
    """Positions [T,columns] of clips -> bytes of zigzag differences over time, planes of low and high bytes, xz."""
    zigzags = []
    for track in tracks:
        whole = np.round(track * unit).astype(np.int16)
        delta = np.diff(whole, axis=0, prepend=np.zeros((1, whole.shape[1]), np.int16)).astype(np.int16)
        zigzags.append(((delta << 1) ^ (delta >> 15)).astype(np.uint16))
    whole = np.concatenate(zigzags).T
    return np.frombuffer(lzma.compress(np.stack([whole & 255, whole >> 8]).astype(np.uint8).tobytes()), np.uint8)


def lip_points(opening):
    """Points [T,3 len(POINTS)] of a face that is one high, its lips `opening` [T] apart."""
    points = np.zeros((len(opening), len(POINTS), 3))
    points[:, 0, 0], points[:, 1, 1], points[:, 2, 1] = -0.2, 0.3 + opening, 0.3
    return points.reshape(len(opening), -1)


def syllables(seed):
    """Lip openings [FRAMES] of 0.01 to 0.12 and the sound [FRAMES HOP] that is as loud as they are wide."""
    rng = np.random.default_rng(seed)
    opening = 0.01 + 0.11 * np.repeat(rng.random(FRAMES // 3), 3)
    return opening, (rng.normal(size=FRAMES * HOP) * np.repeat(opening, HOP)).clip(-1, 1)


@pytest.fixture(scope="session")
def lips_folder(tmp_path_factory):
    """Split val, two shards: Ann has two English clips, one of them with sound that is 3 frames late; Bob speaks
    English with early sound; Cleo is generated. Each opens the lips with the loudness. A clip of split train."""
    folder, clips = tmp_path_factory.mktemp("lips"), {0: [], 1: []}
    rows = [
        ("ann_0", "val", "ann", "en", "no", "0", 0),
        ("ann_1", "val", "ann", "en", "no", "3", 0),
        ("bob_0", "val", "bob", "en", "no", "-2", 1),
        ("cleo_0", "val", "cleo", "", "yes", "", 1),
        ("dan_0", "train", "dan", "", "no", "0", 1),
    ]
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for seed, (name, split, person, language, generated, late, shard) in enumerate(rows):
            values = (name, split, person, FRAMES, language, generated, late, shard, "")
            writer.writerow(dict(zip(COLUMNS, values, strict=True)))
            opening, sound = syllables(seed)
            clips[shard].append((name, opening, np.roll(sound, int(late or 0) * HOP)))
    for shard, stored in clips.items():
        names, openings, sounds = zip(*stored, strict=True)
        tracks = {"points_xz": encode([lip_points(opening) for opening in openings], 2048), "units": [2048] * 4}
        for name, columns in (("pose_xz", 6), ("eyes_xz", 2), ("codes_xz", 14)):
            tracks[name] = encode([np.zeros((FRAMES, columns))] * len(names), 2048)
        np.savez(folder / f"lips-{shard}.npz", ids=names, frames=[FRAMES] * len(names), points=POINTS, **tracks)
        with tarfile.open(folder / f"audio-{shard}.tar", "w") as tar:
            for name, sound in zip(names, sounds, strict=True):
                blob = opus(sound)
                info = tarfile.TarInfo(f"{name}.opus")
                info.size = len(blob)
                tar.addfile(info, io.BytesIO(blob))
    return folder
