"""Stage one on made-up faces: labels, one repeated batch, a resumed run, landmark files, mirrored augmentation."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anitalker.original.checkpoints import read_stage_one
from scripts import export, train_motion_space


def command(cache, out, *more):
    common = ["--data", "unused", "--cache", str(cache), "--out", str(out), "--threads", "1", "--device", "cpu"]
    return [*common, "--perceptual-network", "none", "--log-every", "1", *more]


def pixels(cache, out, *more):
    """The original's architecture at 32 pixels with every term."""
    every = ["--adversarial", "0.5", "--adversarial-after", "1", "--cross-after", "1", "--jitter", "0.2"]
    return command(cache, out, "--preset", "full-256", "--size", "32", "--width", "0.02", "--batch", "2", *every, *more)


def final_weights(out):
    return load_file(out / "weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["codes", "decoder"])
def test_one_step_of_each_stage_of_lite(cache, stage, capsys):
    out, codes = cache.parent / stage, ["--codes", "checkpoints/lite.safetensors"]
    flags = ["--stage", stage, "--batch", "1", "--steps", "1", *codes]
    assert train_motion_space.main(command(cache, out, *flags)) == 0
    said = told(capsys.readouterr().out)
    assert len(said) == 1 and all(np.isfinite(list(said[0].values())))
    assert any(name.startswith("motion_space.") for name in final_weights(out))


@pytest.mark.slow
def test_both_stages_of_lite_train_export_and_resume(cache, capsys):
    """Codes, then the decoder alone, then both together with every term."""
    folder = cache.parent
    every = [
        "--adversarial",
        "0.5",
        "--adversarial-after",
        "0",
        "--identity",
        "0.1",
        "--mutual",
        "0.01",
        "--flow",
        "0.1",
    ]
    runs = {
        "codes": ["--stage", "codes"],
        "frozen": ["--stage", "decoder", "--codes", str(folder / "codes"), "--frozen"],
        "lite": ["--stage", "decoder", "--codes", str(folder / "codes"), "--start", str(folder / "frozen"), *every],
    }
    for name, flags in runs.items():
        common = command(cache, folder / name, *flags, "--batch", "2", "--score", "100")
        assert train_motion_space.main([*common, "--steps", "1"]) == 0
        config = json.loads((folder / name / "config.json").read_text())
        assert (
            config["motion_space"]
            and config["recipe"]["batch"] == 2
            and (folder / name / "weights.safetensors").is_file()
        )
        assert train_motion_space.main([*common, "--steps", "2"]) == 0
        said = capsys.readouterr().out
        assert "resumed at step 1 of 2" in said
        assert torch.load(folder / name / "checkpoint.pt", weights_only=True)["step"] == 2
        if name == "lite":
            assert all(term in said for term in ("adversarial", "d_right", "density", "mutual", "identity", "flow"))
    kept, start = final_weights(folder / "frozen"), final_weights(folder / "codes")
    own = {name: tensor for name, tensor in start.items() if name.startswith("motion_space.")}
    assert all(torch.allclose(tensor, kept[name], atol=1e-6) for name, tensor in own.items())
    assert train_motion_space.main([*command(cache, folder / "codes", *runs["frozen"]), "--steps", "3"]) == 2
    assert "is of other settings" in capsys.readouterr().err


@pytest.mark.slow
def test_pixels_train_a_step_with_every_term_and_load_as_the_original(cache, capsys):
    out = cache.parent / "full"
    assert train_motion_space.main(pixels(cache, out, "--steps", "2")) == 0
    said = capsys.readouterr().out
    for term in ("l1", "flow", "identity", "mutual", "density", "adversarial", "d_loss", "cross", "val copy_whole"):
        assert term in said, term
    file = cache.parent / "stage1.safetensors"
    export.main([str(out), "--kind", "stage1", "-o", str(file)])
    config, tensors = read_stage_one(file)
    assert config["stage1"]["size"] == 32
    trained = final_weights(out)
    assert all(torch.equal(tensor, trained[f"stage1.{name}"]) for name, tensor in tensors.items())


@pytest.mark.slow
def test_killed_training_ends_where_an_unbroken_one_does(cache):
    """kill -9 in the middle: the same command goes on from the last checkpoint and draws what it would have drawn."""
    whole, broken = cache.parent / "whole", cache.parent / "broken"
    settings = ["--steps", "6", "--score", "100", "--save-every", "0"]
    train_motion_space.main(pixels(cache, whole, *settings))
    killed = subprocess.Popen(
        [sys.executable, "-m", "scripts.train_motion_space", *pixels(cache, broken, *settings)],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in killed.stdout:
        if line.startswith("3/6"):
            break
    killed.kill()
    assert killed.wait() == -9 and torch.load(broken / "checkpoint.pt", weights_only=True)["step"] < 6
    train_motion_space.main(pixels(cache, broken, *settings))
    for name, tensor in final_weights(whole).items():
        assert torch.allclose(tensor, final_weights(broken)[name], atol=1e-5), name


@pytest.mark.slow
def test_two_processes_get_the_losses_of_one_on_the_same_batch(cache, capsys):
    settings = ["--steps", "3", "--score", "100"]
    train_motion_space.main(pixels(cache, cache.parent / "one", "--accumulate", "2", *settings))
    alone = told(capsys.readouterr().out)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "scripts.train_motion_space", *pixels(cache, cache.parent / "two", *settings)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    together = told(done.stdout)
    assert len(alone) == len(together) == 3
    for own, shared in zip(alone, together, strict=True):
        assert own.keys() == shared.keys()
        assert all(value == pytest.approx(shared[name], rel=2e-3, abs=2e-4) for name, value in own.items())


def told(text):
    """Numbers of the progress lines."""
    lines = [line.split("|")[0].split()[1:] for line in text.splitlines() if re.match(r"\d+/\d+ ", line)]
    return [dict(zip(words[::2], map(float, words[1::2]), strict=True)) for words in lines]


@pytest.mark.cuda
@pytest.mark.parametrize("stage", ["codes", "decoder", "pixels"])
def test_every_stage_trains_on_a_gpu_with_the_frames_on_it(card, cache, stage, capsys):
    out, steps = cache.parent / stage, ["--steps", "3", "--score", "3", "--device", card]
    if stage == "pixels":
        more = pixels(cache, out, *steps)
    else:
        every = ["--codes", str(cache.parent / "codes"), "--adversarial", "0.5", "--adversarial-after", "0"]
        more = command(cache, out, "--stage", stage, "--batch", "2", *(every if stage == "decoder" else []), *steps)
        if stage == "decoder":
            first = command(cache, cache.parent / "codes", "--stage", "codes", "--batch", "2", "--steps", "1")
            assert train_motion_space.main(first) == 0
    assert train_motion_space.main(more) == 0
    assert ("frames on the GPU" in capsys.readouterr().out) == (card == "cuda")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--preset", "huge"], "preset is 'huge'; allowed are lite-256"),
        (["--preset", "full-256", "--stage", "codes"], "has no stage 'codes'; it has pixels"),
        (["--stage", "codes", "--adversarial", "1"], "stage codes has no --adversarial"),
        (["--stage", "decoder"], "stage decoder came without --codes"),
        (["--steps", "0"], "steps is 0; allowed is 1 or more"),
        (["--preset", "full-256", "--size", "100"], "size is 100; allowed are"),
    ],
)
def test_what_does_not_fit_is_named(cache, flags, words, capsys):
    assert train_motion_space.main(command(cache, cache.parent / "run", *flags)) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


@pytest.mark.slow
def test_a_decoder_of_coarse_places(cache):
    out = cache.parent / "coarse"
    own = ["--block", "4", "--channels", "16,24", "--codes", "checkpoints/lite.safetensors"]
    assert train_motion_space.main(command(cache, out, "--stage", "decoder", "--batch", "1", "--steps", "1", *own)) == 0
    tensors = final_weights(out)
    assert tensors["decoder.exit.weight"].shape[0] == 2 * 48 + 2


@pytest.mark.slow
def test_a_decoder_learns_from_another_one(cache):
    out = cache.parent / "pupil"
    own = ["--block", "4", "--channels", "16,24", "--codes", "checkpoints/lite.safetensors", "--teacher", "lite"]
    own += ["--batch", "2", "--lr", "3e-3", "--warm", "1", "--decay", "0.5", "--steps", "3"]
    assert train_motion_space.main(command(cache, out, "--stage", "decoder", *own)) == 0
    assert final_weights(out)["decoder.exit.weight"].shape[0] == 2 * 48 + 2
