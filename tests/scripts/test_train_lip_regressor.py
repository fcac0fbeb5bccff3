"""Training of the lip regressor on made-up clips: what learns, what stays, losses, weights of clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from scripts import train_generator, train_lip_regressor
from scripts.training.lip_loss import LipLoss, mouth_readout
from scripts.training.motion_data import even_spread, load_motion, measure


@pytest.fixture(scope="module")
def generator_run(motion_folder, tmp_path_factory):
    """A narrow generator without lips that saw two batches."""
    out = tmp_path_factory.mktemp("generator")
    options = ["--features-dir", str(motion_folder), "--batch", "2", "--width", "32", "--layers", "1", "--steps", "2"]
    train_generator.main([*options, "--out", str(out), "--dtype", "float32", "--score", "0", "--sync-at", "0"])
    return out


def test_lips_learn_beside_a_generator_and_an_encoder_that_stay(
    generator_run, phonetic_run, motion_folder, tmp_path, capsys
):
    options = ["--features-dir", str(motion_folder), "--start", str(generator_run), "--out", str(tmp_path)]
    options += ["--phonetic", str(phonetic_run.folder), "--batch", "2", "--width", "16", "--dtype", "float32"]
    assert train_lip_regressor.main([*options, "--steps", "2", "--score", "2"]) == 0
    assert "filmed" in capsys.readouterr().out
    first = load_file(tmp_path / "weights.safetensors")
    assert train_lip_regressor.main([*options, "--steps", "3", "--score", "0"]) == 0
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    after = load_file(tmp_path / "weights.safetensors")
    before = load_file(generator_run / "weights.safetensors") | load_file(phonetic_run.folder / "weights.safetensors")
    for name, tensor in before.items():
        assert torch.equal(after[name][..., : tensor.shape[-1]] if tensor.ndim else after[name], tensor), name
    learned = {name for name in after if name not in before}
    assert learned == {name for name in after if name.startswith("generator.lips.")} != set()
    assert any(not torch.equal(first[name], after[name]) for name in learned)


def test_the_mean_mouth_of_a_window_costs_nothing_but_its_codes():
    torch.manual_seed(0)
    readout = torch.zeros(14, 3)
    readout[0, 0] = 1
    loss = LipLoss(torch.ones(20), readout, torch.ones(3))
    truth, good = torch.randn(2, 30, 20), torch.ones(2, 30)
    shifted = truth.clone()
    shifted[..., 6] += 0.5
    losses = loss(shifted, truth, good)
    assert losses["shape"] < 1e-6 and losses["velocity"] < 1e-6 and losses["codes"] > 0
    good[:, 20:] = 0
    broken = truth.clone()
    broken[:, 20:] = 9
    assert all(value < 1e-6 for value in loss(broken, truth, good).values())
    head = truth.clone()
    head[..., :6] += 1
    assert all(value == 0 for value in loss(head, truth, torch.ones(2, 30)).values())


def test_missed_closures_cost_more_than_missed_openings():
    readout = torch.zeros(14, 3)
    readout[0, 0] = 1
    loss = LipLoss(torch.ones(20), readout, torch.full((3,), 0.05))
    truth = torch.zeros(1, 20, 20)
    truth[0, ::2, 6] = 0.1  # open and shut by turns

    def cost(frame):
        estimate = truth.clone()
        estimate[0, frame, 6] += 0.03
        return float(loss(estimate, truth, torch.ones(1, 20))["shape"])

    assert cost(5) > 1.2 * cost(6)


def test_readout_measures_the_mouth():
    directions = torch.zeros(3, 468, 3)
    directions[0, 14, 1] = 1  # the lower lip sinks
    directions[1, 291, 0], directions[1, 61, 0] = 0.5, -0.5  # the corners part
    directions[2, 13, 2] = directions[2, 14, 2] = -1  # the lips come forward
    assert torch.allclose(mouth_readout(directions), torch.eye(3))


def test_mumblers_and_declaimers_come_nearer(motion_folder):
    clips = [clip for clip in load_motion(motion_folder, "train") if clip.speaks]
    other = replace(clips[0], row=clips[0].row | {"identity": "z"}, codes=clips[0].codes * 3, lips=clips[0].lips * 3)
    pair, space = [replace(clips[0]), other], measure(motion_folder, clips)
    means = [clip.codes.mean(0) for clip in pair]
    even_spread(pair, space.spoken)
    assert 1 < pair[1].lips.std() / pair[0].lips.std() < 2
    assert all(np.allclose(clip.codes.mean(0), mean, atol=1e-5) for clip, mean in zip(pair, means, strict=True))


def test_unsure_clips_are_drawn_less_often(motion_folder):
    clip = load_motion(motion_folder, "train")[0]
    rows = [{"sync_r": "0.7", "face_px_in_source": "300"}, {"sync_r": "0.3", "face_px_in_source": "60"}]
    sure, unsure = (replace(clip, row=clip.row | row).weight for row in rows)
    assert sure == pytest.approx(5.6) and unsure == pytest.approx(4 * 0.6 * 0.6)
