"""Training of the lip regressor on made-up clips: what learns, what stays, losses, weights of clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from scripts import train_generator, train_lip_regressor
from scripts.training.lip_loss import LipLoss, mouth_readout
from scripts.training.motion_data import load_motion, measure
from scripts.training.speakers import SHUT, even_spread, true_level
from scripts.training.sync import delay, shift_late_sound


@pytest.fixture(scope="module")
def generator_run(motion_folder, tmp_path_factory):
    """A narrow generator without lips that saw two batches."""
    out = tmp_path_factory.mktemp("generator")
    options = ["--features-dir", str(motion_folder), "--batch", "2", "--width", "32", "--layers", "1", "--steps", "2"]
    train_generator.main([*options, "--out", str(out), "--dtype", "float32", "--score", "0", "--sync-at", "0"])
    return out


@pytest.mark.slow
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


@pytest.fixture
def clip(motion_folder):
    return next(clip for clip in load_motion(motion_folder, "train") if clip.speaks)


def test_mumblers_and_declaimers_come_nearer_and_shut_lips_stay_shut(clip, motion_folder):
    opening = np.zeros(14)
    opening[0] = 0.1
    codes = clip.codes.copy()
    codes[:, 6] = 10 * clip.lips
    quiet = replace(clip, codes=codes)
    loud = replace(clip, row=clip.row | {"identity": "z"}, codes=codes * 3, lips=clip.lips * 3)
    quiet.codes[5], loud.codes[5] = 0, 0
    spoken = measure(motion_folder, [clip]).spoken
    spoken[6:, 6:] = np.eye(14)
    even_spread([quiet, loud], spoken, opening)
    assert 1 < loud.lips.std() / quiet.lips.std() < 2
    for changed in (quiet, loud):
        assert changed.codes[5, 6] == pytest.approx(0, abs=1e-5)
        assert np.allclose(np.delete(changed.codes[:, 6], 5) * 0.1, np.delete(changed.lips, 5), atol=1e-5)


def test_the_level_of_the_lips_is_the_measured_one(clip):
    opening = np.linspace(-0.1, 0.2, 14)
    before = clip.codes.copy()
    true_level([clip], opening)
    assert (clip.codes[:, 6:] @ opening).mean() == pytest.approx(clip.lips.mean() - SHUT, abs=1e-5)
    assert np.allclose(np.diff(clip.codes, axis=0), np.diff(before, axis=0), atol=1e-5)


def test_a_fraction_of_a_frame_is_found_and_shifted(clip):
    truth = np.sin(np.arange(160) * 0.31) + 0.3 * np.sin(np.arange(160) * 0.83)
    times = np.arange(160) - 1.4
    late, correlation = delay(np.sin(times * 0.31) + 0.3 * np.sin(times * 0.83), truth)
    assert late == pytest.approx(1.4, abs=0.15) and correlation > 0.9
    count = len(clip.codes)
    shift_late_sound({clip.row["id"]: (late, correlation)}, [clip], least=0.15, most=2.0)
    assert len(clip.codes) == count - 2 and len(clip.sound) == 640 * (count - 2)
    shift_late_sound({clip.row["id"]: (0.1, 0.9)}, [clip], least=0.15)
    assert len(clip.codes) == count - 2


def test_unsure_clips_are_drawn_less_often(motion_folder):
    clip = load_motion(motion_folder, "train")[0]
    rows = [{"sync_r": "0.7", "face_px_in_source": "300"}, {"sync_r": "0.3", "face_px_in_source": "60"}]
    sure, unsure = (replace(clip, row=clip.row | row).weight for row in rows)
    assert sure == pytest.approx(5.6) and unsure == pytest.approx(4 * 0.6 * 0.6)
