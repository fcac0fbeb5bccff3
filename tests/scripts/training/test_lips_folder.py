"""Folders of speech beside lip motion: what is read, and that it is in step."""

import csv
import io
import lzma
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from anitalker.config import InputError
from scripts import extract_features
from scripts.training.lips_folder import read_lip_motion

NUMBERS = (13, 14, 61, 291, 152)
FRAMES = (30, 20)


def packed(track: np.ndarray, frames: tuple[int, ...], unit: int) -> np.ndarray:
    """[all frames,columns] -> the blob that `read_lip_motion` unpacks."""
    whole = np.round(track * unit).astype(np.int16)
    starts = np.cumsum([0, *frames[:-1]])
    delta = np.diff(whole, axis=0, prepend=np.zeros((1, whole.shape[1]), np.int16))
    delta[starts] = whole[starts]
    zigzag = ((delta.astype(np.int32) << 1) ^ (delta.astype(np.int32) >> 15)).astype(np.uint16).T
    planes = np.stack([zigzag & 255, zigzag >> 8]).astype(np.uint8)
    return np.frombuffer(lzma.compress(planes.tobytes()), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two clips of one shard; the second one's sound is two frames late. Lips open by .1 at frame 10 of each."""
    rng, total = np.random.default_rng(0), sum(FRAMES)
    points = np.zeros((total, len(NUMBERS), 3))
    points[:, 2, 0], points[:, 3, 0] = -0.2, 0.2
    for first in (0, FRAMES[0]):
        points[first + 10, 1, 1] = 0.1
    tracks = {"points_xz": points.reshape(total, -1), "pose_xz": rng.normal(size=(total, 6)) * 0.1}
    tracks |= {"eyes_xz": np.full((total, 2), 0.05), "codes_xz": rng.normal(size=(total, 14)) * 0.1}
    blobs = {name: packed(track, FRAMES, 2048) for name, track in tracks.items()}
    np.savez(
        tmp_path / "lips-0.npz",
        ids=["a", "b"],
        frames=np.array(FRAMES),
        points=np.array(NUMBERS),
        units=[2048] * 4,
        **blobs,
    )
    row = {"split": "train", "identity": "p", "generated": "no", "shard": "0", "licence": "MIT"}
    rows = [
        row | {"id": "a", "av_offset_frames": "0"},
        row | {"id": "b", "av_offset_frames": "2", "licence": "CC BY-NC"},
    ]
    with open(tmp_path / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with tarfile.open(tmp_path / "audio-0.tar", "w") as tar:
        for row, frames in zip(rows, FRAMES, strict=True):
            sound, buffer = np.zeros(frames * 640, np.float32), io.BytesIO()
            at = (10 + int(row["av_offset_frames"])) * 640
            sound[at : at + 640] = 0.5 * np.sin(np.arange(640) * 0.3)
            soundfile.write(buffer, sound, 16_000, format="OGG", subtype="OPUS")
            member = tarfile.TarInfo(f"{row['id']}.opus")
            member.size = len(buffer.getvalue())
            buffer.seek(0)
            tar.addfile(member, buffer)
    return tmp_path


def loudest(sound: np.ndarray) -> int:
    """The frame with the most energy."""
    return int(np.square(sound.astype(np.float64)).reshape(-1, 640).sum(1).argmax())


def test_tracks_come_back_and_sound_is_brought_into_step(folder):
    clips = list(read_lip_motion(folder, ("train",)))
    assert [(clip.row["id"], clip.motion.shape, len(clip.sound)) for clip in clips] == [
        ("a", (30, 20), 30 * 640),
        ("b", (20, 20), 20 * 640),
    ]
    for clip in clips:
        tensors = extract_features.features_of_lips(clip)
        assert int(tensors["lips"].argmax()) == 10 and tensors["lips"].max() == pytest.approx(0.1, abs=1e-3)
        assert tensors["mouth"][:, 1].mean() == pytest.approx(0.4, abs=1e-3)
        assert loudest(tensors["sound"].numpy()) == 10
        assert tensors["codes"].dtype == torch.float32 and not tensors["neutral"].any()
    assert loudest(clips[1].sound) == 12


def test_licences_of_the_train_split(folder):
    a, b = (clip.row for clip in read_lip_motion(folder, ("train",)))
    assert extract_features.is_usable(a) and not extract_features.is_usable(b)
    assert extract_features.is_usable(b | {"split": "val"})


def test_another_folder_is_told(folder, tmp_path_factory):
    with pytest.raises(InputError, match=r"no clip of split .val"):
        list(read_lip_motion(folder, ("val",)))
    with pytest.raises(InputError, match=r"no .*manifest\.csv"):
        list(read_lip_motion(tmp_path_factory.mktemp("empty"), ("train",)))
    (folder / "manifest.csv").write_text("id,split\na,train\n")
    with pytest.raises(InputError, match="identity, generated, shard"):
        list(read_lip_motion(folder, ("train",)))
