"""The original's numbers, from its files in every spelling: recorded from the public code with synthetic weights.

The small recording is tests/original_golden.npz (python -m scripts.parity FOLDER --reduce). The whole one is compared
too where it is: in the folder ANITALKER_PARITY, or in shared/parity beside the checkout.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from anitalker.models import loading
from anitalker.network_config import VARIANTS, DenoiserConfig
from anitalker.original.denoiser import Denoiser
from scripts import parity
from scripts.evaluation import synthetic_weights

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("ANITALKER_PARITY") or ROOT.parent / "shared/parity")
WHOLE = FOLDER if (FOLDER / "stage1.npz").exists() else None
LIMIT = 1e-4  # relative L2 error
KEYS = {"sched": 15, "mfcc": 9, "stage1": 49}  # how many the small recording has


def agrees(part, made):
    """Every key of the small recording, and of the whole one where it is."""
    for folder in {None, WHOLE}:
        found = parity.errors(parity.recorded(part, folder), made, whole=folder is not None)
        wrong = {key: error for key, error in found.items() if not error <= LIMIT}
        assert found and not wrong, (folder, wrong)


@pytest.mark.parametrize("part", ["sched", "mfcc"])
def test_schedules_and_cepstra(part, tmp_path):
    assert len(parity.recorded(part)) == KEYS[part]
    ((_, made),) = parity.outputs(part, tmp_path, WHOLE)
    agrees(part, made)


@pytest.mark.slow
def test_motion_of_a_short_clip():
    """Of the five, the smallest; from tensors, in a few seconds. All others, and files, are in the slow test."""
    golden = {key: array for key, array in parity.recorded("stage2_mfcc_pose_only").items() if key.startswith("T7_")}
    assert set(golden) == {"T7_eps_t500", "T7_sample10"}
    with torch.device("meta"):
        network = Denoiser(DenoiserConfig("mfcc_pose_only"))
    tensors = {
        name: torch.from_numpy(synthetic_weights.weight(f"ema_model.{name}", t.shape, not t.is_floating_point()))
        for name, t in network.state_dict().items()
    }
    network.load_state_dict(tensors, assign=True)
    made = parity.run(network.eval(), golden)
    found = parity.errors(golden, made, whole=False)
    assert len(found) == 2 and max(found.values()) <= LIMIT, found


@pytest.mark.slow
@pytest.mark.parametrize("part", parity.PARTS[2:])
def test_every_number_from_every_spelling(part, tmp_path):
    assert len(parity.recorded(part)) == KEYS.get(part) or part[7:] in VARIANTS
    spellings = []
    for spelling, made in parity.outputs(part, tmp_path, WHOLE):
        agrees(part, made)
        spellings.append(spelling)
    assert spellings == ["published", *(["prefixed"] if part == "stage1" else []), "converted"]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_both_stages_by_the_loader_of_the_command_line(tmp_path):
    """The pair that `--model original --stage1 FILE --stage2 FILE` gets is what was compared above."""
    paths = [next(parity.spelled(part, tmp_path, WHOLE))[1] for part in ("stage1", "stage2_mfcc_full_control")]
    for part, network in zip(("stage1", "stage2_mfcc_full_control"), loading.load_original(*paths), strict=True):
        keys = ("render_1", "render_motion", "motion_code", "eps_t500_flag1", "pred_scale")
        golden = {key: array for key, array in parity.recorded(part).items() if key in keys}
        found = parity.errors(golden, parity.run(network, golden), whole=False)
        assert len(found) >= 2 and max(found.values()) <= LIMIT, found


@pytest.mark.skipif(WHOLE is None, reason="needs the whole recording")
def test_synthetic_values_are_those_of_the_recording():
    """Ours against the script that made the recording's weights and inputs: the same bits."""
    spec = importlib.util.spec_from_file_location("make_weights", WHOLE / "make_weights.py")
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    for part in ("stage1", "stage2_hubert_full_control", "stage2_mfcc_full_control"):
        for entry in theirs.load_manifest(WHOLE / f"manifest_{part}.json"):
            name, shape = entry["name"], entry["shape"]
            small = np.prod(shape) < 30_000 or name.endswith(("noisy_encoder.0.weight", "out_proj.weight"))
            if small and not name.endswith(".kernel"):
                ours = synthetic_weights.weight(name, shape, entry["dtype"] == "int64")
                assert np.array_equal(ours, theirs.fill(name, shape, entry["dtype"])), name
    for name in ("start_code", "start_motion", "portrait_u8", "tone_wave"):
        assert np.array_equal(getattr(synthetic_weights, name)(), getattr(theirs, name)()), name
    for name in ("hubert_feats", "mfcc_feats", "noise"):
        assert np.array_equal(getattr(synthetic_weights, name)(7), getattr(theirs, name)(7)), name
    assert all(np.array_equal(a, b) for a, b in zip(synthetic_weights.controls(7), theirs.controls(7), strict=True))


def test_inputs_of_a_single_frame():
    """Fewer features than the window that smooths them."""
    assert synthetic_weights.hubert_feats(1).shape == (1, 25, 2, 1024)
    assert synthetic_weights.mfcc_feats(1).shape == (1, 4, 39)


def test_a_small_deviation_is_noticed():
    """The comparison can fail: per key, in bytes, in shape, and for what is missing."""
    golden = parity.recorded("stage1")
    made = {key: array.copy() for key, array in golden.items()}
    assert max(parity.errors(golden, made, whole=True).values()) == 0
    made["render_1"] = made["render_1"] + 2e-4 * np.abs(made["render_1"]).max()
    made["frame_0_u8"] = made["frame_0_u8"].copy()
    made["frame_0_u8"][:5] ^= 2
    made["frame_1_u8"] = np.where(np.arange(made["frame_1_u8"].size) % 50, made["frame_1_u8"], made["frame_1_u8"] ^ 1)
    made["image_code"] = made["image_code"][:, :-1]
    del made["motion_code"]
    found = parity.errors(golden, made, whole=True)
    assert {key for key, error in found.items() if not error <= LIMIT} == {
        "render_1", "frame_0_u8", "frame_1_u8", "image_code", "motion_code"
    }  # fmt: skip


def test_errors_are_relative_and_infinite_for_what_is_missing():
    golden = {"a": np.array([3.0, 4.0]), "b": np.ones(2), "c": np.ones(2), "noise": np.ones(2), "audio": np.ones(2)}
    made = {"a": np.array([3.0, 4.5]), "b": np.ones(3)}
    assert parity.errors(golden, made, whole=True) == {"a": pytest.approx(0.1), "b": np.inf, "c": np.inf}


def test_the_recording_is_small():
    assert parity.GOLDEN.stat().st_size <= 1_500_000
