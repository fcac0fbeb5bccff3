"""Stage two of the original's family: codes read by a stage one, a short training, export, and the file renders."""

import pytest
import torch
from safetensors.torch import load_file

from anitalker.config import InputError
from anitalker.original.checkpoints import load
from anitalker.weights.weight_file import open_weights
from scripts import export, train_denoiser

FRAMES = 80
NARROW = ["width=16", "side=8", "mfcc_hidden=8", "decoder_hidden=16", "decoder_layers=1", "control=8"]
ROW = {"speaking_visible": "yes", "has_audio": "yes", "generated": "no", "shard": "mixed-0", "identity": "a"}


def test_windows_hold_what_belongs_together(read_folder):
    windows = train_denoiser.Windows(read_folder, "train")
    batch = windows.batch(3, 0)
    n = batch["motion"].shape[1]
    assert 50 <= n <= 125 and batch["sound"].shape == (3, 4 * n, 39) and batch["signals"].shape == (3, n, 5)
    assert batch["motion"].abs().max() == 1 and batch["appearance"].shape == (3, 24)
    assert torch.equal(batch["portrait"], batch["motion"][:, 0])
    again = windows.batch(3, 0)
    assert all(torch.equal(again[name], value) for name, value in batch.items())
    # Motion is noise here, but signals and sound come from the same frames: the loudness of a frame is known.
    for window, sound in zip(batch["signals"], batch["sound"], strict=True):
        first = int((windows.stored[0]["signals"][:, 0] - window[0, 0]).abs().argmin())
        loud = torch.from_numpy(windows.clips[0].lips[first : first + n])
        assert torch.corrcoef(torch.stack([loud, sound[:, 0].unflatten(0, (n, 4)).mean(1)]))[0, 1] > 0.8


def test_features_without_a_stage_one_are_refused(motion_folder):
    with pytest.raises(InputError, match="--stage1 FILE"):
        train_denoiser.Windows(motion_folder, "train")


def train(folder, run, *more):
    """A training of narrow sizes."""
    paths = ["--features-dir", str(folder), "--out", str(run), "--sizes", *NARROW]
    return train_denoiser.main([*paths, "--batch", "4", "--device", "cpu", "--dtype", "float32", *more])


@pytest.mark.slow
def test_it_learns_resumes_and_becomes_a_file_that_moves(read_folder, original_networks, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(read_folder, run, "--steps", "3", "--score", "3") == 0
    assert "val noise" in capsys.readouterr().out
    assert train(read_folder, run, "--steps", "50", "--lr", "5e-3", "--score", "50") == 0
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
    """What `generate_motion` reads of a face."""
    from types import SimpleNamespace

    return SimpleNamespace(image_code=torch.zeros(1, 24), motion=torch.zeros(1, 20), signals={})


@pytest.mark.parametrize(
    ("given", "words"),
    [(["--sizes", "depth=3"], "--sizes has no depth"), (["--features-dir", "nowhere"], "no clips.json")],
)
def test_what_does_not_fit_is_told(read_folder, tmp_path, capsys, given, words):
    assert train_denoiser.main(["--features-dir", str(read_folder), "--out", str(tmp_path / "x"), *given]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "x").exists()
