"""Stage two of the original's family: codes read by a stage one, a short training, export, and the file renders."""

import pytest
import torch
from safetensors.torch import load_file

from anitalker.original.checkpoints import load
from anitalker.weights.weight_file import open_weights
from scripts import export, train_denoiser

FRAMES = 80
NARROW = ["width=16", "side=8", "mfcc_hidden=8", "decoder_hidden=16", "decoder_layers=1", "control=8"]
ROW = {"speaking_visible": "yes", "has_audio": "yes", "generated": "no", "shard": "mixed-0", "identity": "a"}


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
    """Of what `move` asks for."""
    from types import SimpleNamespace

    return SimpleNamespace(image_code=torch.zeros(1, 24), motion=torch.zeros(1, 20), own={})


@pytest.mark.parametrize(
    ("given", "words"),
    [(["--sizes", "depth=3"], "--sizes has no depth"), (["--features-dir", "nowhere"], "no clips.json")],
)
def test_what_does_not_fit_is_told(read_folder, tmp_path, capsys, given, words):
    assert train_denoiser.main(["--features-dir", str(read_folder), "--out", str(tmp_path / "x"), *given]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "x").exists()
