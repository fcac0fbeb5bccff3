"""The sync judge's training on a folder made on the spot: it learns, goes on where it was, and writes a file."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from scripts import train_sync_judge
from scripts.evaluation.sync_judge import MOUTH, SyncJudge
from scripts.training import sync_data
from scripts.training.data import Clip
from scripts.training.lips_folder import LipMotion
from scripts.training.sync_data import SyncClip, prepare
from scripts.training.sync_examples import MAX_SHIFT, WINDOW


def spoken(shape, number, late, split="train", licence="MIT", frames=90):
    """A clip of lips that open at random and of a noise that is as loud as they are open, `late` frames after them."""
    rng, frames = np.random.default_rng(number), frames + number
    opening = np.convolve(rng.random(frames + 4) < 0.3, np.hanning(5), "valid")
    points = np.repeat(shape[None], frames, 0)
    points[:, [MOUTH.index(n) for n in (14, 87, 317, 152)], 1] += 0.08 * opening[:, None]
    loudness = np.interp(np.arange(frames * 640) / 640 - 0.5 - late, np.arange(frames), opening)
    sound = (0.2 * rng.standard_normal(frames * 640) * loudness).astype(np.float32)
    row = {"id": f"c{number}", "split": split, "identity": f"p{number}", "generated": "no", "shard": "0"}
    row |= {"licence": licence, "av_offset_frames": str(late)}
    return LipMotion(row, sound, points, MOUTH, np.zeros((frames, 20)), np.zeros((frames, 2)))


@pytest.fixture
def folders(tmp_path, face, monkeypatch):
    """--data, whose `video` has no clips, and --lips with three speakers of train and two of val."""
    shape = face[list(MOUTH)].numpy()
    clips = [spoken(shape, 0, 0), spoken(shape, 1, 2), spoken(shape, 2, -1, licence="CC BY-NC")]
    clips += [spoken(shape, 3, 0, "val"), spoken(shape, 4, 1, "val")]
    monkeypatch.setattr(sync_data, "read_lip_motion", lambda _, splits: [c for c in clips if c.row["split"] in splits])
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "manifest.csv").write_text("id,split,shard\n")
    return ["--data", str(tmp_path), "--lips", "lips", "--cache", str(tmp_path / "cache")]


def test_the_folders_are_read_once(folders, tmp_path, face, monkeypatch):
    arguments = (tmp_path, "lips", tmp_path / "cache")
    first = prepare(*arguments, "val", face)
    assert [clip.row["id"] for clip in prepare(*arguments, "train", face)] == ["c0", "c1"]  # the third is NC
    monkeypatch.setattr(sync_data, "load_sync_clips", lambda *_: iter([]))
    clips = prepare(*arguments, "val", face)
    assert [len(clip.shapes) for clip in clips] == [93, 94]
    assert [clip.offset for clip in clips] == [0, 1]
    assert clips[0].log_mel.shape == (4 * 93, 80) and clips[1].pitch.shape == (94, 2)
    assert all(torch.equal(a.shapes, b.shapes) for a, b in zip(first, clips, strict=True))
    truth = spoken(face[list(MOUTH)].numpy(), 3, 0).points[..., :2]
    np.testing.assert_allclose(clips[0].shapes.numpy(), truth, atol=1e-3)
    with pytest.raises(ValueError, match="no clips of split 'tune'"):
        prepare(*arguments, "tune", face)


def test_clips_of_the_data_folder(folders, tmp_path, face, monkeypatch):
    """Whoever is seen and heard, but not again who is in the folder of lip motion."""

    def clip(name, **row):
        row = {"id": name, "split": "val", "has_audio": "yes", "speaking_visible": "yes", "bad_frames_hex": ""} | row
        return Clip(row, face.repeat(30, 1, 1).numpy() * 0.5, b"")

    clips = [clip("c3"), clip("new"), clip("mute", has_audio="no"), clip("off", speaking_visible="no")]
    monkeypatch.setattr(sync_data, "load_clips", lambda *_: iter(clips))
    monkeypatch.setattr(sync_data, "decode_speech", lambda _: np.zeros(9, np.float32))
    names = [row["id"] for row, *_ in sync_data.load_sync_clips(tmp_path, "lips", "val", face)]
    assert names == ["c3", "c4", "new"]
    *_, (_, shapes, _) = sync_data.load_sync_clips(tmp_path, None, "val", face)
    np.testing.assert_allclose(shapes[7], face[list(MOUTH), :2], atol=1e-3)


def test_which_offsets_are_known():
    row = {"generated": "no", "shard": "mixed-0"}
    empty = torch.zeros(0)
    assert SyncClip(row, empty, empty, empty).offset == 0  # a manifest without the column
    assert SyncClip(row | {"av_offset_frames": ""}, empty, empty, empty).offset is None
    assert SyncClip(row | {"av_offset_frames": "", "shard": "grid-0"}, empty, empty, empty).offset == 0


def test_the_loss_falls_where_the_shift_is_right():
    """A network that knows which frames belong together, and the same one when the speech is four frames late."""

    class Known(torch.nn.Module):
        log_scale = torch.tensor(2.0)

        def forward(self, lips, speech):
            return lips, speech

    objective = train_sync_judge.SyncObjective(Known())
    code = torch.nn.functional.normalize(torch.randn(3, WINDOW, 64, generator=torch.manual_seed(0)), dim=-1)
    together, late = objective((code, code), 0)[0], objective((code, code.roll(4, 1)), 0)[0]
    assert set(together) == {"shift", "clip", "frame", "total"}
    assert all(together[name] < late[name] for name in together)
    constant = torch.ones(3, WINDOW, 64) / 8
    losses = objective((constant, constant), 0)[0]
    for name in ("shift", "frame"):
        assert losses[name].item() == pytest.approx(np.log(2 * MAX_SHIFT + 1), rel=1e-4)
    assert losses["clip"].item() == pytest.approx(np.log(3), rel=1e-4)


@pytest.mark.slow
def test_it_learns_goes_on_and_writes_a_file(folders, tmp_path, capsys):
    file = tmp_path / "judge.safetensors"
    options = [*folders, "--out", str(tmp_path / "run"), "--batch", "8"]
    options += ["--width", "24", "--size", "8", "--lr", "5e-3", "--warm", "5", "--decay", "0.9", "--score", "0"]
    assert train_sync_judge.main([*options, "--steps", "60"]) == 0
    assert train_sync_judge.main([*options, "--steps", "80", "--file", str(file)]) == 0
    assert "resumed at step 60 of 80" in capsys.readouterr().out
    with safe_open(file, "pt") as stored:
        config = json.loads(stored.metadata()["config"])
    assert config["steps"] == 80 and config["sync_judge"]["width"] == 24
    assert config["accuracy"]["filmed"]["two_seconds"] > 0.9  # on people it has not seen
    assert SyncJudge(file).network.canonical.abs().sum() > 0


def test_without_speakers_it_says_so(folders, tmp_path, face, monkeypatch, capsys):
    short = spoken(face[list(MOUTH)].numpy(), 0, 0, frames=60)
    monkeypatch.setattr(sync_data, "read_lip_motion", lambda *_: iter([short]))
    assert train_sync_judge.main([*folders, "--out", str(tmp_path / "run")]) == 2
    assert "no train clip of 3 s" in capsys.readouterr().err
