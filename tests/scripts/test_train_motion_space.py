"""Stage one on made-up faces: labels, one repeated batch, a resumed run, landmark files, mirrored augmentation."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anitalker.config import DecoderConfig, InputError, MotionSpaceConfig, from_dict
from anitalker.decoder.decoder import Decoder
from anitalker.faces.landmarks import from_canonical, lip_opening
from anitalker.models import loading
from anitalker.motion.motion_space import MotionSpace
from anitalker.original.checkpoints import read_stage_one
from scripts import export, train_motion_space
from scripts.training.augment import after, mirror, mirror_index, random_similarity
from scripts.training.codes import CodesObjective, start_from_labels
from scripts.training.data import FrameCache, decode_landmarks, encode_landmarks
from scripts.training.labels import close_lips
from scripts.training.lite_decoder import DecoderObjective
from scripts.training.pairs import PairSampler
from scripts.training.presets import Codes, decoder_config, resolve


def test_landmark_files_are_an_inverse_pair(face):
    track = from_canonical(face.expand(5, -1, -1), torch.randn(5, 6) * 0.05).numpy()
    assert np.abs(decode_landmarks(encode_landmarks(track), 5) - track).max() <= 0.5 / 2048 + 1e-6


def test_codes_of_made_landmarks_are_the_codes_they_were_made_of(face, labels):
    codes = torch.randn(6, 20) * 0.02 - torch.tensor([0] * 5 + [0.6] + [0] * 14)
    shape = face + (codes[:, 6:] @ labels.directions.T).unflatten(1, (468, 3))
    read = labels.codes(from_canonical(shape, codes[:, :6]).numpy(), "ann")
    assert (read - codes).abs().max() < 0.03  # random directions move the stable points a little


def test_somebody_who_never_shuts_the_mouth_gets_a_shut_neutral(face):
    gap = torch.zeros(468, 3)
    gap[14, 1], gap[13, 1] = 1.0, -1.0
    directions = torch.linalg.qr(torch.cat([gap.flatten()[:, None], torch.randn(468 * 3, 13)], 1)).Q
    opened = face + 0.04 * gap
    assert lip_opening(opened) > 0.08 and lip_opening(close_lips(opened, directions)) < 0.012


def test_mirror_is_a_permutation_of_pairs_and_mirrored_landmarks_fit_the_mirrored_picture(face):
    index = mirror_index(face)
    assert torch.equal(index[index], torch.arange(468)) and index[33] == 263 and index[61] == 291
    marks = from_canonical(face.expand(2, -1, -1), torch.tensor([[0.2, 0, 0.1, 0.05, 0, -0.6]]).expand(2, -1))
    picture = torch.zeros(2, 1, 64, 64)
    picture[..., 10] = 1
    pictures, moved = mirror(picture, marks, index, torch.tensor([True, False]))
    assert torch.allclose(moved[0, 263, 0], 1 - marks[0, 33, 0], atol=1e-5) and torch.equal(moved[1], marks[1])
    assert pictures[0, 0, 0, 53] == 1 and pictures[1, 0, 0, 10] == 1


def test_one_transform_after_another_is_their_composition(face):
    first, then = random_similarity(3), random_similarity(3)
    marks = from_canonical(face.expand(3, -1, -1), torch.tensor([[0.0, 0, 0, 0, 0, -0.8]]).expand(3, -1))
    assert torch.allclose(after(first, then).landmarks(marks), then.landmarks(first.landmarks(marks)), atol=1e-5)


def test_pairs_of_a_person_share_identity_and_stills_are_their_own_pair(cache, labels):
    pairs = PairSampler(FrameCache(cache, "train"), labels, stills=0.5, aligned=0.5).draw(12)
    assert pairs.picture_a.shape == (12, 3, 256, 256) and pairs.picture_a.abs().max() <= 1
    still = ~pairs.labelled
    assert 0 < still.sum() < 12
    assert torch.allclose(pairs.codes_a[still, 6:], pairs.codes_b[still, 6:], atol=1e-3)
    assert (pairs.codes_a - pairs.codes_b)[~still, 6:].abs().amax(1).min() > 5e-3


def command(cache, out, *more):
    common = ["--data", "unused", "--cache", str(cache), "--out", str(out), "--threads", "1", "--device", "cpu"]
    return [*common, "--features", "none", "--log-every", "1", *more]


def pixels(cache, out, *more):
    """The original's architecture at 32 pixels with every term."""
    every = ["--adversarial", "0.5", "--adversarial-after", "1", "--cross-after", "1", "--jitter", "0.2"]
    return command(cache, out, "--preset", "full-256", "--size", "32", "--width", "0.02", "--batch", "2", *every, *more)


def final_weights(out):
    return load_file(out / "weights.safetensors")


@pytest.mark.parametrize("stage", ["codes", "decoder"])
def test_one_step_of_each_stage_of_lite(cache, stage, capsys):
    out = cache.parent / stage
    assert train_motion_space.main(command(cache, out, "--stage", stage, "--batch", "1", "--steps", "1")) == 0
    said = told(capsys.readouterr().out)
    assert len(said) == 1 and all(np.isfinite(list(said[0].values())))
    assert any(name.startswith("motion_space.") for name in final_weights(out))


@pytest.mark.slow
def test_both_stages_of_lite_train_export_and_resume(cache, capsys):
    """Codes, then the decoder on label codes, then both together with every term."""
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
        "labels": ["--stage", "decoder"],
        "lite": ["--stage", "decoder", "--codes", str(folder / "codes"), "--start", str(folder / "labels"), *every],
        "frozen": ["--stage", "decoder", "--codes", str(folder / "codes"), "--frozen"],
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
    assert train_motion_space.main([*command(cache, folder / "codes", "--stage", "decoder"), "--steps", "3"]) == 2
    assert "is of other settings" in capsys.readouterr().err


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
    for one, two in zip(alone, together, strict=True):
        assert one.keys() == two.keys()
        assert all(value == pytest.approx(two[name], rel=2e-3, abs=2e-4) for name, value in one.items())


def told(text):
    """Numbers of the progress lines."""
    lines = [line.split("|")[0].split()[1:] for line in text.splitlines() if re.match(r"\d+/\d+ ", line)]
    return [dict(zip(words[::2], map(float, words[1::2]), strict=True)) for words in lines]


@pytest.mark.cuda
@pytest.mark.parametrize("stage", ["codes", "decoder", "pixels"])
def test_every_stage_trains_on_a_gpu_with_the_frames_on_it(cache, stage, capsys):
    out, steps = cache.parent / stage, ["--steps", "3", "--score", "3", "--device", "cuda"]
    if stage == "pixels":
        more = pixels(cache, out, *steps)
    else:
        every = ["--codes", str(cache.parent / "codes"), "--adversarial", "0.5", "--adversarial-after", "0"]
        more = command(cache, out, "--stage", stage, "--batch", "2", *(every if stage == "decoder" else []), *steps)
        if stage == "decoder":
            first = command(cache, cache.parent / "codes", "--stage", "codes", "--batch", "2", "--steps", "1")
            assert train_motion_space.main(first) == 0
    assert train_motion_space.main(more) == 0
    assert "frames on the GPU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--preset", "huge"], "preset is 'huge'; allowed are lite-256"),
        (["--preset", "full-256", "--stage", "codes"], "has no stage 'codes'; it has pixels"),
        (["--stage", "codes", "--adversarial", "1"], "stage codes has no --adversarial"),
        (["--steps", "0"], "steps is 0; allowed is 1 or more"),
        (["--preset", "full-256", "--size", "100"], "size is 100; allowed are"),
    ],
)
def test_what_does_not_fit_is_named(cache, flags, words, capsys):
    assert train_motion_space.main(command(cache, cache.parent / "run", *flags)) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


@pytest.mark.slow
def test_codes_loss_falls_on_a_repeated_batch(cache, labels):
    data = FrameCache(cache, "train")
    space = MotionSpace(MotionSpaceConfig())
    start_from_labels(space, labels, data)
    objective = CodesObjective(space, Codes(mutual=0.0), 4, None)
    pairs = PairSampler(data, labels, stills=0.0).draw(4)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    values = []
    for step in range(20):
        found, _ = objective(pairs, step)
        optimizer.zero_grad()
        found["total"].backward()
        optimizer.step()
        values.append(found["total"].item())
    assert np.isfinite(values).all() and np.mean(values[-3:]) < 0.8 * np.mean(values[:3])


@pytest.mark.parametrize("channels", ["", "24,x", "24", "24,20", "8,8,8,8,8,8,8,8,8"])
def test_widths_of_the_decoder_that_cannot_be(channels):
    recipe = resolve("lite-256", "decoder", {"channels": channels})
    with pytest.raises(InputError, match=r"channels are|widths are too many"):
        decoder_config(recipe, MotionSpaceConfig())


def test_a_decoder_of_coarse_places_learns_numbers_beside_the_twenty(cache):
    out = cache.parent / "learned"
    own = ["--block", "4", "--channels", "16,24", "--learned", "4", "--codes", "checkpoints/lite.safetensors"]
    assert train_motion_space.main(command(cache, out, "--stage", "decoder", "--batch", "1", "--steps", "1", *own)) == 0
    tensors = final_weights(out)
    assert tensors["motion_space.learned_out.weight"].shape[0] == 4
    assert tensors["decoder.exit.weight"].shape[0] == 2 * 48 + 2
    assert tensors["decoder.modulate.weight"].shape[1] == 256 + 2 * 24


@pytest.mark.slow
def test_a_cheaper_decoder_learns_from_a_teacher(cache, labels):
    """The teacher itself has nothing to learn; another decoder comes nearer to it, and the teacher stays as it is."""
    data = FrameCache(cache, "train")
    space = MotionSpace(MotionSpaceConfig())
    start_from_labels(space, labels, data)
    config, tensors = loading.read(Path("checkpoints/lite.safetensors"))
    teacher = Decoder(from_dict(DecoderConfig, config["decoder"]))
    own = {name.removeprefix("decoder."): one for name, one in tensors.items() if name.startswith("decoder.")}
    teacher.load_state_dict(own)
    recipe = resolve("lite-256", "decoder", {"channels": "16,24", "block": 4, "perceptual": 0.0})
    pairs = PairSampler(data, labels, stills=0.0).draw(1)

    def taught(decoder, steps):
        torch.manual_seed(0)
        objective = DecoderObjective(space, decoder, recipe, "none", 4, False, False, teacher)
        optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3)
        values = []
        for step in range(steps):
            torch.manual_seed(1)  # the same noise on the landmarks
            found, _ = objective(pairs, step)
            optimizer.zero_grad()
            found["taught"].backward()
            optimizer.step()
            values.append(found["taught"].item())
        return values

    assert taught(copy.deepcopy(teacher), 1)[0] < 0.002  # rounding
    values = taught(Decoder(decoder_config(recipe, MotionSpaceConfig())), 8)
    assert min(values[4:]) < 0.9 * values[0]
    assert all(torch.equal(one, own[name]) for name, one in teacher.state_dict().items())
