"""Stage two of the original's family: codes read by a stage one, a short training, export, and the file renders."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anitalker.media.writer import VideoWriter
from anitalker.models.original import portrait_signals
from anitalker.original.checkpoints import load
from anitalker.weights.weight_file import open_weights
from scripts import export, extract_features, train_denoiser
from scripts.training.data import Clip
from scripts.training.denoiser_data import Scale, Windows, load_courses
from scripts.training.motion_data import load_motion

FRAMES = 80
NARROW = ["width=16", "side=8", "mfcc_hidden=8", "decoder_hidden=16", "decoder_layers=1", "control=8"]
ROW = {"speaking_visible": "yes", "has_audio": "yes", "generated": "no", "shard": "mixed-0", "identity": "a"}


def write_features(folder, **more):
    """Two clips whose motion is the loudness of their sound; more: tensors by name that both have."""
    rng = np.random.default_rng(0)
    rows = [{**ROW, "id": name, "split": split} for name, split in (("one", "train"), ("held", "val"))]
    for row in rows:
        loud = 0.5 + 0.5 * np.sin(np.arange(FRAMES) * 0.7)
        codes = np.outer(loud, rng.normal(size=20)) * 0.1 + rng.normal(size=(FRAMES, 20)) * 0.01
        stored = {
            "codes": codes.astype(np.float32),
            "good": np.ones(FRAMES, np.uint8),
            "lips": loud.astype(np.float32),
            "eyes": rng.random(FRAMES).astype(np.float32),
            "neutral": rng.normal(size=(468, 3)).astype(np.float32),
            "sound": (rng.normal(size=FRAMES * 640) * 3000 * loud.repeat(640)).astype(np.int16),
            "signals": rng.random((FRAMES, 5)).astype(np.float32),
        }
        tensors = {name: torch.from_numpy(value) for name, value in stored.items()}
        save_file(tensors | more, folder / f"{row['id']}.safetensors")
    directions = np.linalg.qr(rng.normal(size=(1404, 14)))[0].T.reshape(14, 468, 3)
    save_file({"directions": torch.tensor(directions.copy(), dtype=torch.float32)}, folder / "space.safetensors")
    (folder / "clips.json").write_text(json.dumps(rows))
    return folder


def train(folder, run, *more):
    """A training of narrow sizes."""
    paths = ["--features", str(folder), "--run", str(run), "--sizes", *NARROW]
    return train_denoiser.main([*paths, "--batch", "4", "--device", "cpu", "--dtype", "float32", *more])


@pytest.fixture(scope="module")
def read_features(tmp_path_factory):
    """Codes as a stage one of 24 numbers of appearance reads them; motion beyond 1 now and then."""
    motion = torch.from_numpy(np.random.default_rng(1).normal(size=(FRAMES, 20)).astype(np.float32))
    more = {"motion": motion, "appearance": torch.ones(4, 24).half()}
    return write_features(tmp_path_factory.mktemp("read"), **more)


def test_windows_hold_what_belongs_together(read_features):
    clips = load_motion(read_features, "train")
    windows = Windows(load_courses(read_features, clips), None, 24)
    batch = windows.batch(3, 0)
    n = batch["motion"].shape[1]
    assert 50 <= n <= FRAMES and batch["sound"].shape == (3, 4 * n, 39) and batch["signals"].shape == (3, n, 5)
    assert batch["motion"].abs().max() == 1 and batch["appearance"].shape == (3, 24)
    assert torch.equal(batch["portrait"], batch["motion"][:, 0])
    again = windows.batch(3, 0)
    assert all(torch.equal(again[name], value) for name, value in batch.items())
    # Motion is noise here, but signals and sound come from the same frames: the loudness of a frame is known.
    signals = torch.from_numpy(load_courses(read_features, clips)[0].signals)
    for one, sound in zip(batch["signals"], batch["sound"], strict=True):
        first = int((signals[:, 0] - one[0, 0]).abs().argmin())
        loud = torch.from_numpy(clips[0].lips[first : first + n])
        assert torch.corrcoef(torch.stack([loud, sound[:, 0].unflatten(0, (n, 4)).mean(1)]))[0, 1] > 0.8


def test_label_codes_are_scaled_and_come_back():
    rng = np.random.default_rng(0)
    codes, scale = rng.normal(size=(9, 20)).astype(np.float32) * 0.5, Scale(rng.normal(size=20), np.ones(20))
    made = scale.shrink(codes, codes[3])
    assert np.abs(made).max() <= 1 and np.abs(made[3, :6]).max() == 0
    assert torch.allclose(scale.stretch(torch.from_numpy(made), codes[3]), torch.from_numpy(codes), atol=1e-5)


@pytest.mark.slow
def test_it_learns_resumes_and_becomes_a_file_that_moves(read_features, original_networks, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(read_features, run, "--steps", "3", "--validate-every", "3") == 0
    assert "val noise" in capsys.readouterr().out
    assert train(read_features, run, "--steps", "50", "--rate", "5e-3", "--validate-every", "50") == 0
    told = capsys.readouterr().out
    assert "resumed at step 3 of 50" in told
    pose = [float(line.split("pose ")[1].split()[0]) for line in told.splitlines() if "/50 " in line]
    assert pose[-1] < 0.85 * pose[0]  # the signals are told from the sound, at least in the mean
    output = tmp_path / "stage2.safetensors"
    export.main([str(run), "--kind", "stage2", "-o", str(output)])
    network = load(open_weights(output), "original_stage2")
    assert (network.config.start, network.config.width) == (24, 16)
    known = load_file(run / "weights.safetensors")
    assert torch.equal(network.out_proj.weight, known["stage2.out_proj.weight"])
    from anitalker.config import RenderOptions
    from anitalker.models.original import Original

    model = Original(original_networks()[0], network)
    moved = model.generate_motion(
        model.speech_features(torch.randn(16_000) * 0.1), _subject(model), RenderOptions(steps=2)
    )
    assert moved.shape == (25, 20) and moved.abs().max() <= 1


def _subject(model):
    """Of what `move` asks for."""
    from types import SimpleNamespace

    return SimpleNamespace(image_code=torch.zeros(1, 24), motion=torch.zeros(1, 20), own={})


@pytest.mark.parametrize(
    ("given", "words"),
    [(["--sizes", "depth=3"], "--sizes has no depth"), (["--features", "nowhere"], "no clips.json")],
)
def test_what_does_not_fit_is_told(read_features, tmp_path, capsys, given, words):
    assert train_denoiser.main(["--features", str(read_features), "--run", str(tmp_path / "x"), *given]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_features_of_before_are_refused(tmp_path, capsys):
    folder = write_features(tmp_path)
    stored = load_file(folder / "one.safetensors")
    del stored["signals"]
    save_file(stored, folder / "one.safetensors")
    assert train(folder, tmp_path / "x") == 2
    assert "extract_features once more" in capsys.readouterr().err


def test_codes_are_read_from_every_frame(original_networks, tmp_path):
    stage_one, rng = original_networks()[0].eval(), np.random.default_rng(0)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8), 16, 1), 16, 2)
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 256, 256) as writer:
        for frame in frames:
            writer.write(frame)
    landmarks = np.zeros((31, 468, 3), np.float32)
    read = extract_features.read_codes(stage_one, Clip({}, landmarks, path.read_bytes()), batch=7)
    assert read["motion"].shape == (31, 20) and read["appearance"].shape == (2, 24)
    assert torch.equal(read["motion"][30], read["motion"][29])
    assert (read["motion"][1:30] - read["motion"][:29]).abs().amax(1).min() > 1e-4


def test_signals_are_those_of_a_portrait(face):
    """What the training is told of a frame is what `render` tells of a portrait."""
    from types import SimpleNamespace

    points = face.numpy().astype(np.float32)
    seen = portrait_signals(SimpleNamespace(landmarks=points))
    told = extract_features.signals_of(points[None], torch.zeros(1, 20))[0]
    assert torch.allclose(told[:2], torch.cat([seen["location"], seen["scale"]]), atol=1e-6)
